"""What `check --for diffusers` says beside what the real diffusers does with the same files."""

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import command
from test_single_file import extract, unet
from test_conv import tune


@pytest.fixture
def made(tmp_path):
    """A UNet's base and its kohya file, whose base is in `tmp_path`."""
    base, tuned = unet(), unet()
    tune(tuned)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    return tmp_path, extract(tmp_path / "base", tmp_path / "tuned", tmp_path / "lora.safetensors", "--format", "kohya")


def checked(path, base):
    done = command.run("check", path, "--base", base, "--for", "diffusers", "--json")
    return done.returncode, {finding["code"] for finding in json.loads(done.stdout)}


def used(base, path):
    """How many layers of the UNet get factors that are not zero; None where diffusers refuses the file."""
    model = UNet2DConditionModel.from_pretrained(base)
    try:
        # As StableDiffusionPipeline.load_lora_weights calls it.
        state, alphas = StableDiffusionPipeline.lora_state_dict(path, unet_config=model.config)
        StableDiffusionPipeline.load_lora_into_unet(state, alphas, model)
    except (ValueError, KeyError, RuntimeError):
        return None
    layers = [module for module in model.modules() if hasattr(module, "lora_B")]
    return sum(any(b.weight.abs().sum() > 0 for b in layer.lora_B.values()) for layer in layers)


def rewritten(path, to, change):
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(path)), to, metadata)
    return to


def test_a_sound_file_is_used_whole(made):
    path, file = made
    code, found = checked(file, path / "base")
    assert code == 0 and not found, found
    pairs = sum(name.endswith("lora_up.weight") for name in load_file(file))
    assert used(path / "base", file) == pairs > 0


def test_other_beginnings_of_names_do_nothing(made):
    path, file = made
    other = rewritten(file, path / "other.safetensors", lambda tensors: {f"my_{name}": t for name, t in tensors.items()})
    code, found = checked(other, path / "base")
    assert code == 1 and found & {"prefix", "adapter-invalid", "unknown-tensor"}, found
    assert not used(path / "base", other)


def test_differences_of_norms_are_refused(made):
    path, file = made
    norm = "lora_unet_down_blocks_0_resnets_0_norm1"
    other = rewritten(file, path / "norms.safetensors", lambda tensors: {**tensors, f"{norm}.diff": torch.ones(8)})
    code, found = checked(other, path / "base")
    assert "no-place" in found, found
    pairs = sum(name.endswith("lora_up.weight") for name in load_file(file))
    count = used(path / "base", other)
    # Refused, or all but the norm.
    assert count is None or count == pairs, count


def test_a_peft_directory_is_another_format(made):
    path, _ = made
    directory = extract(path / "base", path / "tuned", path / "peft")
    code, found = checked(directory, path / "base")
    assert code == 1 and "wrong-format" in found, found
