"""PEFT to GGUF and back, and the converter of llama.cpp itself as the judge."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

import command
import gguf_model
import llama
import pair
import strict
from gguf_pair import FEW, apart, convert, extract


@pytest.fixture(params=["real", "tied"])
def layout(request):
    """Llama: rows of q and k reordered. Qwen2: grouped heads, tied embeddings, no reordering."""
    return request.getfixturevalue(request.param)


def test_peft_to_gguf_and_back_is_the_same(layout, tmp_path):
    peft = extract(layout.hf["base"], layout.hf["tuned"], tmp_path / "peft", 8, "--dtype", "f32")
    there = convert(peft, tmp_path / "there.gguf", "--base", layout.hf["base"])
    back = convert(there, tmp_path / "back", "--base", layout.hf["base"])
    first, second = (load_file(path / "adapter_model.safetensors") for path in (peft, back))
    assert first.keys() == second.keys()
    for name, factor in first.items():
        assert torch.equal(factor, second[name]), name
    configs = [json.loads((path / "adapter_config.json").read_text()) for path in (peft, back)]
    assert sorted(configs[0]["target_modules"]) == sorted(configs[1]["target_modules"])
    assert all(config["r"] == config["lora_alpha"] == 8 for config in configs)


def stock(adapter, base, out, outtype="f32"):
    """What the converter of the same llama.cpp makes of a PEFT adapter."""
    words = [sys.executable, "-B", llama.source() / "convert_lora_to_gguf.py", adapter, "--base", base]
    words += ["--outtype", outtype, "--outfile", out]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return out


def changed(adapter, out, **config):
    """The same adapter directory with other entries in its configuration."""
    out.mkdir()
    entries = json.loads((adapter / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(entries | config))
    (out / "adapter_model.safetensors").write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    return out


@pytest.mark.parametrize("alpha", [8, 12])
def test_tensors_are_the_stock_converters(layout, alpha, tmp_path):
    """lora_a to the bit; lora_b to the bit where alpha is the rank, else with the scale that stock leaves to the load."""
    peft = extract(layout.hf["base"], layout.hf["tuned"], tmp_path / "peft", 8, "--dtype", "f32")
    peft = changed(peft, tmp_path / "scaled", lora_alpha=alpha)
    ours = convert(peft, tmp_path / "ours.gguf", "--base", layout.hf["base"])
    theirs = stock(peft, layout.hf["base"], tmp_path / "theirs.gguf")
    found, expected = gguf_model.read(ours), gguf_model.read(theirs)
    assert found.keys() == expected.keys()
    assert not gguf_model.fields(ours).get("adapter.lora.alpha")
    assert gguf_model.fields(theirs)["adapter.lora.alpha"] == alpha
    for name, tensor in expected.items():
        scale = np.float32(alpha / 8) if name.endswith(".lora_b") else np.float32(1)
        assert np.array_equal(found[name], tensor * scale), name
    same = {key: gguf_model.fields(theirs)[key] for key in ("general.architecture", "general.type", "adapter.type")}
    assert same.items() <= gguf_model.fields(ours).items()


def test_mixed_ranks_keep_their_scales(real, tmp_path):
    """Each module of another rank and alpha, as PEFT's patterns say it: one alpha for all could not."""
    peft = extract(real.hf["base"], real.hf["tuned"], tmp_path / "peft", 16, "--dtype", "f32")
    tensors, ranks, alphas = load_file(peft / "adapter_model.safetensors"), {}, {}
    for position, module in enumerate(pair.MODULES):
        rank = 16 - position % 5
        ranks[module], alphas[module] = rank, 2 * rank if position % 2 else rank
        a, b = (f"{command.PREFIX}{module}.lora_{half}.weight" for half in "AB")
        tensors[a] = tensors[a][:rank].contiguous()
        tensors[b] = tensors[b][:, :rank].contiguous() / (alphas[module] / rank)
    mixed = changed(peft, tmp_path / "mixed", rank_pattern=ranks, alpha_pattern=alphas)
    save_file(tensors, mixed / "adapter_model.safetensors", metadata={"format": "pt"})
    adapter = convert(mixed, tmp_path / "mixed.gguf", "--base", real.gguf("base"))
    assert not gguf_model.fields(adapter).get("adapter.lora.alpha")
    base = strict.load_base(LlamaForCausalLM, real.hf["base"])
    loaded = strict.load_adapter(base, command.Adapter(mixed, None))
    with torch.no_grad():
        expected = loaded(input_ids=torch.from_numpy(FEW.astype(np.int64))).logits.numpy()
    assert apart(llama.logits(real.gguf("base"), FEW, adapter), expected) < 5e-4
