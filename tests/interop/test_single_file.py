"""kohya's and ComfyUI's files: their content by the rules, their sums as ComfyUI makes them, and the real diffusers."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

import command
import strict
from test_conv import close, merged, tune

RANK = 4


def unet():
    torch.manual_seed(4)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=5,
        block_out_channels=(8, 24),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def encoder():
    torch.manual_seed(6)
    sizes = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2)
    return CLIPTextModel(CLIPTextConfig(**sizes, vocab_size=40, max_position_embeddings=16, projection_dim=8))


@torch.no_grad()
def noise(model):
    random = torch.Generator().manual_seed(8)
    image, text = torch.randn(2, 3, 8, 8, generator=random), torch.randn(2, 5, 12, generator=random)
    return model.eval()(image, 7, text).sample.double()


@torch.no_grad()
def embeddings(model):
    return model.eval()(torch.arange(10).view(2, 5)).last_hidden_state.double()


def extract(base, tuned, out, *words):
    done = command.run("extract", base, tuned, "-o", out, "--rank", RANK, "--dtype", "f32", "--quiet", *words)
    assert done.returncode == 0, done.stderr
    return out


def modules(model):
    """Every linear layer and convolution and its weight's shape."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return {name: module.weight.shape for name, module in model.named_modules() if isinstance(module, kinds)}


def check_file(path, shapes):
    """The content of a file, by the rules; `shapes` are those of the weights by the names of the modules."""
    tensors = load_file(path)
    expected = set()
    for name, weight in shapes.items():
        up, down, alpha = (f"{name}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha"))
        expected |= {up, down, alpha}
        rank = tensors[down].shape[0]
        assert tensors[down].shape == (rank, *weight[1:]), down
        assert tensors[up].shape == (weight[0], rank, *[1] * (len(weight) - 2)), up
        assert tensors[alpha].shape == () and tensors[alpha].item() == rank
    assert tensors.keys() == expected
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == (str(RANK), str(float(RANK)))
    if any(len(weight) == 4 and weight[2] > 1 for weight in shapes.values()):
        assert json.loads(metadata["ss_network_args"]) == {"conv_dim": str(RANK), "conv_alpha": str(float(RANK))}
    return tensors


def added(weight, name, tensors):
    """What ComfyUI makes of a weight: the product of the flattened factors in the shape of the weight."""
    up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
    scale = tensors[f"{name}.alpha"].item() / down.shape[0]
    return weight + scale * torch.mm(up.flatten(1), down.flatten(1)).reshape(weight.shape)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    for side, change in (("base", lambda model: model), ("tuned", tune)):
        change(unet()).save_pretrained(folder / side / "unet")
        change(encoder()).save_pretrained(folder / side / "text_encoder")
    return folder


def sides(pipeline, part):
    return pipeline / "base" / part, pipeline / "tuned" / part


def test_a_kohya_file_of_a_unet_in_diffusers(pipeline, tmp_path):
    base, tuned = sides(pipeline, "unet")
    out = extract(base, tuned, tmp_path / "lora.safetensors", "--format", "kohya")
    names = {f"lora_unet_{name.replace('.', '_')}": shape for name, shape in modules(unet()).items()}
    tensors = check_file(out, names)

    merged(base, out, tmp_path / "merged")
    expected = load_weights(tmp_path / "merged")
    before = load_weights(base)
    for name in modules(unet()):
        weight = f"{name}.weight"
        close(expected[weight], added(before[weight], f"lora_unet_{name.replace('.', '_')}", tensors), 1e-6)
    assert {n for n in before if not torch.equal(before[n], expected[n])} == {f"{n}.weight" for n in modules(unet())}

    # The real loader, as StableDiffusionPipeline.load_lora_weights calls it.
    model = UNet2DConditionModel.from_pretrained(base)
    with strict.no_warnings():
        state, alphas = StableDiffusionPipeline.lora_state_dict(out, unet_config=model.config)
        StableDiffusionPipeline.load_lora_into_unet(state, alphas, model)
    layers = {name for name, layer in model.named_modules() if hasattr(layer, "lora_A") and "default_0" in layer.lora_A}
    assert layers == modules(unet()).keys()
    merged_model = UNet2DConditionModel.from_pretrained(tmp_path / "merged")
    close(noise(model), noise(merged_model), 1e-4)
    assert (noise(UNet2DConditionModel.from_pretrained(base)) - noise(merged_model)).abs().max() > 0.05


def test_a_kohya_file_of_a_text_encoder_in_diffusers(pipeline, tmp_path):
    base, tuned = sides(pipeline, "text_encoder")
    out = extract(base, tuned, tmp_path / "lora.safetensors", "--format", "kohya")
    within = {name.removeprefix("text_model."): shape for name, shape in modules(encoder()).items()}
    check_file(out, {f"lora_te_text_model_{name.replace('.', '_')}": shape for name, shape in within.items()})
    merged(base, out, tmp_path / "merged")
    model = CLIPTextModel.from_pretrained(base)
    with strict.no_warnings():
        state, alphas = StableDiffusionPipeline.lora_state_dict(out)
        StableDiffusionPipeline.load_lora_into_text_encoder(state, alphas, model)
    layers = {name for name, layer in model.named_modules() if hasattr(layer, "lora_A")}
    assert layers == modules(encoder()).keys()
    expected = embeddings(CLIPTextModel.from_pretrained(tmp_path / "merged"))
    close(embeddings(model), expected, 1e-4)
    assert (embeddings(CLIPTextModel.from_pretrained(base)) - expected).abs().max() > 0.01


@pytest.mark.parametrize("style", ["kohya", "comfy"])
def test_a_checkpoint_of_a_whole_pipeline(pipeline, style, tmp_path):
    """The names that ComfyUI derives from its own: of the diffusion model, and of the text encoder's layers."""
    files = []
    for side in ("base", "tuned"):
        state = {f"model.diffusion_model.{name}": t for name, t in load_weights(pipeline / side / "unet").items()}
        for name, tensor in load_weights(pipeline / side / "text_encoder").items():
            name = name.removeprefix("text_model.")
            state[f"cond_stage_model.transformer.text_model.{name}"] = tensor
        state["first_stage_model.decoder.conv_in.weight"] = torch.randn(4, 3, 3, 3)
        files.append(tmp_path / f"{side}.safetensors")
        save_file(state, files[-1])
    out = extract(*files, tmp_path / "lora.safetensors", "--format", style)
    parts = {
        "kohya": ("lora_unet_{}", "lora_te_text_model_{}"),
        "comfy": ("diffusion_model.{}", "text_encoders.clip_l.transformer.text_model.{}"),
    }[style]
    flat = (lambda name: name.replace(".", "_")) if style == "kohya" else (lambda name: name)
    text = {name.removeprefix("text_model."): shape for name, shape in modules(encoder()).items()}
    places = {f"model.diffusion_model.{name}": parts[0].format(flat(name)) for name in modules(unet())}
    places |= {f"cond_stage_model.transformer.text_model.{name}": parts[1].format(flat(name)) for name in text}
    before, after = load_file(files[0]), merged(files[0], out, tmp_path / "merged.safetensors")
    tensors = check_file(out, {name: before[f"{place}.weight"].shape for place, name in places.items()})
    for place, name in places.items():
        close(after[f"{place}.weight"], added(before[f"{place}.weight"], name, tensors), 1e-6)
    vae = "first_stage_model.decoder.conv_in.weight"
    assert torch.equal(after[vae], before[vae])
    done = command.run("verify", *files, out, "--min-energy", 0.9)
    assert done.returncode == 0, done.stdout + done.stderr


def load_weights(folder):
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def test_a_peft_adapter_of_a_unet_and_back(pipeline, tmp_path):
    """Converted from kohya with the base's names, PEFT loads it; converted back, every factor is the same."""
    base, tuned = sides(pipeline, "unet")
    out = extract(base, tuned, tmp_path / "lora.safetensors", "--format", "kohya")
    for source, target, words in (
        (out, tmp_path / "peft", ["--format", "peft"]),
        (tmp_path / "peft", tmp_path / "again.safetensors", ["--format", "kohya"]),
    ):
        done = command.run("convert", source, "-o", target, "--base", base, *words)
        assert done.returncode == 0, done.stderr
    first, second = load_file(out), load_file(tmp_path / "again.safetensors")
    assert first.keys() == second.keys() and all(torch.equal(t, second[name]) for name, t in first.items())
    adapter = command.Adapter(tmp_path / "peft", None)
    loaded = strict.load_adapter(UNet2DConditionModel.from_pretrained(base), adapter)
    merged(base, out, tmp_path / "merged")
    close(noise(loaded), noise(UNet2DConditionModel.from_pretrained(tmp_path / "merged")), 1e-4)
