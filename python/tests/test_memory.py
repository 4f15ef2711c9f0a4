"""State dicts of torch and numpy against the functions over files, and in the real PEFT."""

from pathlib import Path

import numpy
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import phlora

PAIR = Path(__file__).resolve().parents[2] / "tests" / "data" / "tiny-llama"
RANK = 16


def model(side):
    return AutoModelForCausalLM.from_pretrained(PAIR / side, dtype=torch.float32)


@pytest.fixture(scope="module")
def dicts():
    return model("base").state_dict(), model("tuned").state_dict()


@pytest.fixture(scope="module")
def adapter(dicts):
    return phlora.extract_state_dict(*dicts, rank=RANK)


def test_figures_are_those_of_the_files(adapter, tmp_path):
    report = phlora.extract(PAIR / "base", PAIR / "tuned", tmp_path / "files", rank=RANK)
    by_name = {module["name"]: module for module in report["modules"]}
    assert sorted(adapter.modules) == sorted(by_name)
    assert adapter.energy == pytest.approx(report["total"]["energy"], abs=1e-5)
    for name, module in adapter.modules.items():
        assert module.energy == pytest.approx(by_name[name]["energy"], abs=1e-4)
        assert module.rank == RANK and module.a.shape[0] == RANK and module.b.shape[1] == RANK


def test_energies_are_true(dicts, adapter):
    base, tuned = dicts
    for name, module in adapter.modules.items():
        delta = (tuned[f"{name}.weight"] - base[f"{name}.weight"]).double()
        rest = (delta - module.b.double() @ module.a.double()).pow(2).sum() / delta.pow(2).sum()
        assert 1 - rest.item() == pytest.approx(module.energy, abs=1e-5)


def test_what_gets_no_factors_is_said(adapter):
    assert adapter.left_out["model.norm.weight"] == "no linear layer"
    assert "lm_head.weight" in adapter.left_out and "model.embed_tokens.weight" in adapter.left_out


def test_peft_takes_it_from_memory_and_from_its_files(dicts, adapter, tmp_path):
    tokens = torch.arange(1, 33).reshape(1, -1)
    model_in_memory = get_peft_model(model("base"), LoraConfig(**adapter.config()))
    loaded = set_peft_model_state_dict(model_in_memory, adapter.state_dict())
    assert not loaded.unexpected_keys
    bytes_written = adapter.save(tmp_path / "adapter", dtype="f32", base_name="org/base")
    assert bytes_written > 0
    from_files = PeftModel.from_pretrained(model("base"), tmp_path / "adapter")
    merged = model("base")
    weights = merged.state_dict()
    for name, module in adapter.modules.items():
        weights[f"{name}.weight"] += module.b @ module.a
    with torch.no_grad():
        expected = merged(tokens).logits
        assert torch.allclose(model_in_memory(tokens).logits, expected, atol=1e-4)
        assert torch.allclose(from_files(tokens).logits, expected, atol=1e-4)
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert sorted(stored) == sorted(adapter.state_dict())


def test_numpy_and_torch_give_the_same_bits(dicts, adapter):
    numpy_dicts = [{name: value.numpy() for name, value in side.items()} for side in dicts]
    found = phlora.extract_state_dict(*numpy_dicts, rank=RANK)
    for name, module in found.modules.items():
        assert isinstance(module.a, numpy.ndarray)
        assert numpy.array_equal(module.a, adapter.modules[name].a.numpy())
        assert numpy.array_equal(module.b, adapter.modules[name].b.numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_and_views_are_read_as_they_are(dtype):
    torch.manual_seed(1)
    base = torch.randn(48, 80).to(dtype)
    tuned = (base.double() + torch.randn(48, 2).double() @ torch.randn(2, 80).double()).to(dtype)
    found = phlora.extract_state_dict({"a.weight": base.T}, {"a.weight": tuned.T}, rank=4, threads=1)
    module = found.modules["a"]
    delta = (tuned.double() - base.double()).T
    assert torch.linalg.norm(delta - module.b.double() @ module.a.double()) < 0.02 * torch.linalg.norm(delta)


def test_weights_are_not_copied(dicts):
    resource = pytest.importorskip("resource")
    size = 2048
    base = {"a.weight": torch.zeros(size, size)}
    tuned = {"a.weight": torch.ones(size, size)}
    phlora.extract_state_dict({"b.weight": base["a.weight"][:64]}, {"b.weight": tuned["a.weight"][:64]}, rank=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    phlora.extract_state_dict(base, tuned, rank=1, threads=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < size * size * 4, f"{grown} bytes for two weights of {size * size * 4} bytes each"


def test_mistakes_are_said(dicts):
    base, _ = dicts
    with pytest.raises(phlora.NothingToExtract):
        phlora.extract_state_dict(base, base)
    odd = {"a.weight": torch.zeros(8, 8, dtype=torch.int32)}
    with pytest.raises(ValueError, match="a.weight: int32"):
        phlora.extract_state_dict(odd, odd)
    infinite = {"a.weight": torch.full((8, 8), torch.inf)}
    with pytest.raises(phlora.Error, match="a.weight"):
        phlora.extract_state_dict({"a.weight": torch.zeros(8, 8)}, infinite)
