"""Convolutions: the real PEFT's outputs against merged weights, for a network made here and for a real ResNet."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import ConvNextConfig, ConvNextForImageClassification, ResNetConfig, ResNetForImageClassification

import command
import strict

RANK = 6
FULL = 512  # above every narrower side


class Network(nn.Module):
    """3 × 3, 1 × 1, strided, without bias, 3-D, 1-D and linear layers, channels of odd numbers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 11, 3, padding=1)
        self.blocks = nn.Sequential(nn.Conv2d(11, 13, 3, stride=2, padding=1, bias=False), nn.ReLU(), nn.Conv2d(13, 7, 1))
        self.down = nn.Conv2d(7, 15, (2, 3))
        self.volume = nn.Conv3d(1, 5, (2, 2, 3))
        self.line = nn.Conv1d(5, 6, 3)
        self.out = nn.Linear(6, 9)

    def forward(self, x):
        x = torch.tanh(self.blocks(torch.tanh(self.stem(x))))
        x = torch.tanh(self.volume(self.down(x).unsqueeze(1)))
        return self.out(torch.tanh(self.line(x.mean((2, 3)))).mean(2))


CONVOLUTIONS = {"stem", "blocks.0", "blocks.2", "down"}
IMAGES = torch.randn(6, 3, 14, 14, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def tune(model):
    """A strong part of rank 4 and weak noise on every weight that is extracted."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            rows, columns = module.weight.shape[0], module.weight[0].numel()
            change = 0.05 * torch.randn(rows, 4) @ torch.randn(4, columns) + 0.003 * torch.randn(rows, columns)
            module.weight += change.view_as(module.weight)
    return model


@torch.no_grad()
def outputs(model):
    found = model.eval()(IMAGES.to(next(model.parameters()).dtype))
    return getattr(found, "logits", found).double()


def close(found, expected, bound=2e-5):
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


def plus(model, adapter):
    """The model with W + B·A in float64, the product made here: every entry of the kernel by itself."""
    model = model.double()
    for module, (a, b) in adapter.factors.items():
        weight = model.get_submodule(module).weight.data
        if weight.ndim == 2:
            weight += b @ a
            continue
        assert a.shape[1:] == weight.shape[1:] and b.shape[2:] == (1,) * (weight.ndim - 2)
        weight += torch.einsum("or,r...->o...", b.flatten(1), a)
    return model


def merged(base, adapter, path):
    done = command.run("merge", base, adapter, "-o", path, "--quiet")
    assert done.returncode == 0, done.stderr
    (weights,) = path.glob("*.safetensors") if path.is_dir() else [path]
    return load_file(weights)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conv")
    torch.manual_seed(1)
    base = Network()
    save_file(base.state_dict(), folder / "base.safetensors")
    save_file(tune(base).state_dict(), folder / "tuned.safetensors")
    return folder / "base.safetensors", folder / "tuned.safetensors"


def load(path):
    model = Network()
    model.load_state_dict(load_file(path))
    return model.eval()


@pytest.mark.parametrize("more", [[], ["--include", "."]], ids=["default", "every"])
@pytest.mark.parametrize("rank", [RANK, FULL])
def test_peft_computes_what_the_merged_weights_do(files, rank, more, tmp_path):
    base, tuned = files
    adapter = command.extract(base, tuned, tmp_path / "adapter", rank, "f32", None, *more)
    # A single input channel may be one of many groups, and three axes a stack of layers: taken only when asked for.
    assert adapter.factors.keys() == CONVOLUTIONS | {"out"} | ({"volume", "line"} if more else set())
    assert adapter.config["task_type"] is None

    expected = outputs(plus(load(base), adapter))
    loaded = strict.load_adapter(load(base), adapter)
    close(outputs(loaded), expected)
    close(outputs(strict.merge(loaded)), expected)
    model = Network()
    model.load_state_dict(merged(base, adapter.path, tmp_path / "merged.safetensors"))
    close(outputs(model), expected)

    before, after = outputs(load(base)), outputs(load(tuned))
    if rank == FULL and more:
        close(expected, after, 1e-4)
        assert (before - after).abs().max() > 0.02
    if rank == FULL:
        for module in CONVOLUTIONS:
            weight = load(tuned).get_submodule(module).weight.double()
            close(plus(load(base), adapter).get_submodule(module).weight, weight, 1e-5)


def test_verify_measures_what_is_left_of_convolutions(files, tmp_path):
    base, tuned = files
    adapter = command.extract(base, tuned, tmp_path / "adapter", 3)
    left = total = 0.0
    for module, (a, b) in adapter.factors.items():
        before, after = (load(path).get_submodule(module).weight.detach().double() for path in (base, tuned))
        change = after - before
        total += change.norm().item() ** 2
        left += (change.flatten(1) - b.flatten(1) @ a.flatten(1)).norm().item() ** 2
        best = torch.linalg.svdvals(change.flatten(1))[:3].square().sum() / change.norm() ** 2
        kept = next(one["energy"] for one in adapter.report["modules"] if one["name"] == module)
        assert best - 1e-3 < kept < best + 1e-6
    done = command.run("verify", base, tuned, adapter.path, "--min-energy", 1 - left / total - 1e-4)
    assert done.returncode == 0, done.stdout + done.stderr
    done = command.run("verify", base, tuned, adapter.path, "--min-energy", 1 - left / total + 1e-4)
    assert done.returncode == 1, done.stdout + done.stderr


def resnet():
    torch.manual_seed(2)
    config = ResNetConfig(embedding_size=9, hidden_sizes=[12, 20], depths=[1, 1], layer_type="bottleneck", num_labels=7)
    return ResNetForImageClassification(config)


def convnext():
    """With depthwise 7 × 7 kernels."""
    torch.manual_seed(7)
    return ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 2], num_stages=2, num_labels=7))


def plain(model):
    """The linear layers, the head among them, and the convolutions without groups."""
    kinds = (nn.Conv2d, nn.Linear)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    return {name for name, module in layers.items() if getattr(module, "groups", 1) == 1}


@pytest.mark.parametrize("make", [resnet, convnext])
@pytest.mark.parametrize("rank", [RANK, FULL])
def test_models_of_transformers(make, rank, tmp_path):
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    make().save_pretrained(base)
    tune(make()).save_pretrained(tuned)
    # Small depthwise convolutions would be stored whole.
    adapter = command.extract(base, tuned, tmp_path / "adapter", rank, "f32", None, "--exclude", "dwconv")
    assert adapter.factors.keys() == plain(make())
    load = lambda path: strict.load_base(type(make()), path)
    expected = outputs(plus(load(base), adapter))
    loaded = strict.load_adapter(load(base), adapter)
    close(outputs(loaded), expected, 1e-4)
    close(outputs(strict.merge(loaded)), expected, 1e-4)
    merged(base, adapter.path, tmp_path / "merged")
    close(outputs(load(tmp_path / "merged")), expected, 1e-4)
    if rank == FULL and make is resnet:
        close(expected, outputs(load(tuned)), 1e-3)


class Special(nn.Module):
    """Kernels that PEFT has no layers for, of shapes like any others'."""

    def __init__(self):
        super().__init__()
        self.plain = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 6, 3, padding=1)
        self.dilated = nn.Conv2d(6, 5, 3, padding=2, dilation=2)

    def forward(self, x):
        return self.dilated(torch.tanh(self.transposed(torch.tanh(self.grouped(torch.tanh(self.plain(x)))))))


def test_kernels_that_peft_refuses_still_merge(tmp_path):
    torch.manual_seed(9)
    base = Special()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    tuned = {name: t + 0.1 * torch.randn_like(t) if t.ndim == 4 else t for name, t in base.state_dict().items()}
    save_file(tuned, tmp_path / "tuned.safetensors")
    files = tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"

    def load():
        model = Special()
        model.load_state_dict(load_file(files[0]))
        return model.eval()

    adapter = command.extract(*files, tmp_path / "adapter", FULL, "f32")
    for name, tensor in merged(files[0], adapter.path, tmp_path / "merged.safetensors").items():
        torch.testing.assert_close(tensor, tuned[name], rtol=0, atol=1e-5)
    for name, error in (("grouped", "groups"), ("transposed", "not supported"), ("dilated", "size of tensor")):
        alone = command.extract(*files, tmp_path / name, 2, "f32", None, "--include", name)
        with pytest.raises((ValueError, RuntimeError, UserWarning), match=error):
            outputs(strict.load_adapter(load(), alone))
    left = command.extract(*files, tmp_path / "left", 2, "f32", None, "--exclude", "grouped|transposed|dilated")
    close(outputs(strict.load_adapter(load(), left)), outputs(plus(load(), left)))


def test_a_pruned_adapter_of_convolutions_loads(files, tmp_path):
    base, tuned = files
    command.extract(base, tuned, tmp_path / "adapter", 8)
    done = command.run("prune", tmp_path / "adapter", "-o", tmp_path / "pruned", "--rank", 4, "--dtype", "f32")
    assert done.returncode == 0, done.stderr
    pruned = command.Adapter(tmp_path / "pruned", None)
    close(outputs(strict.load_adapter(load(base), pruned)), outputs(plus(load(base), pruned)))
