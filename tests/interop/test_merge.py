"""Merged models: PEFT's own merge, transformers, and the real llama.cpp with base and adapter."""

import pytest
import torch
from safetensors.torch import load_file

import command
import gguf_model
import llama
import pair
import strict
from gguf_pair import FEW, apart

CLOSE = {"f32": 5e-4, "f16": 5e-3}


def merge(base, out, *words):
    done = command.run("merge", base, *words, "-o", out, "--quiet")
    assert done.returncode == 0, f"phlora merge: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return out


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_merged_weights_are_pefts(adapters, scale, tmp_path):
    adapter = adapters(16, "f32")
    out = merge(pair.BASE, tmp_path / "merged", adapter.path, "--scale", scale)
    strict.load_base(type(pair.load(pair.BASE)), out)  # transformers takes the directory as it is
    found, base = load_file(out / "model.safetensors"), load_file(pair.BASE / "model.safetensors")
    loaded = strict.load_adapter(pair.load(pair.BASE), adapter)
    for layer in loaded.modules():
        if isinstance(getattr(layer, "scaling", None), dict):
            layer.scaling["default"] *= scale
    expected = strict.merge(loaded).state_dict()
    assert found.keys() == base.keys()
    for name, tensor in found.items():
        assert tensor.dtype == base[name].dtype
        if name.removesuffix(".weight") in pair.MODULES:
            # Half a step of bf16, and what f32 sums differ by.
            bound = expected[name].abs() / 256 + 1e-6
            assert bool(((tensor.float() - expected[name]).abs() <= bound).all()), name
            assert not torch.equal(tensor, base[name]), name
        else:
            assert torch.equal(tensor, base[name]), name


@pytest.mark.parametrize("kind", CLOSE)
def test_merged_gguf_is_base_with_adapter(real, kind, tmp_path):
    adapter, base = real.adapter(16), real.gguf("base", kind)
    out = merge(base, tmp_path / "merged.gguf", adapter)
    found, expected = llama.logits(out, FEW), llama.logits(base, FEW, adapter)
    assert apart(found, expected) < CLOSE[kind]
    assert apart(llama.logits(base, FEW), expected) > 1


def test_merged_quantised_gguf_loads(real, tmp_path):
    adapter, base = real.adapter(16), real.gguf("base", "q8_0")
    out = merge(base, tmp_path / "merged.gguf", adapter)
    types = [{t.name: t.tensor_type for t in gguf_model.gguf.GGUFReader(path).tensors} for path in (base, out)]
    assert types[0] == types[1]
    found, expected = llama.logits(out, FEW), llama.logits(base, FEW, adapter)
    assert apart(found, expected) < 0.1 * apart(llama.logits(base, FEW), expected)
