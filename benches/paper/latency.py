"""Seconds to load an adapter against a whole model at a size where bytes count: a Llama of random weights.

Values do not matter to loading, so nothing is trained: the tuned model is the base plus noise.
"""

import os
import shutil
import statistics
from types import SimpleNamespace

import adapters
import torch
from judge import LOADS, seconds
from packages import CACHE
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

RANK = 16
CONFIG = dict(
    hidden_size=1024,
    intermediate_size=2816,
    num_hidden_layers=24,
    num_attention_heads=16,
    num_key_value_heads=16,
    vocab_size=32000,
)


def forget(path):
    """Drops a file's or a folder's pages from the page cache."""
    for file in [path] if path.is_file() else path.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@torch.no_grad()
def touch(tensors):
    """Reads something of every page: a mapped file is not read until then."""
    return sum(float(tensor.flatten()[::512].float().sum()) for tensor in tensors)


def load(path):
    model = LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    touch(model.parameters())
    return model


def read(path):
    """The tensors alone, without a library's model around them."""
    return touch(load_file(path).values())


def median(action, path, cold):
    taken = []
    for _ in range(LOADS):
        if cold:
            forget(path)
        taken.append(seconds(action))
    return statistics.median(taken)


def figures():
    folder = CACHE / "latency"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).bfloat16()
    model.save_pretrained(folder / "base")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1e-3 * torch.randn_like(parameter)
    model.save_pretrained(folder / "tuned")
    pair = SimpleNamespace(base=folder / "base", tuned=folder / "tuned", options=["--mode", "stream-once"])
    adapter = adapters.extract(pair, f"rank {RANK}", folder / "adapter")
    merged = adapters.merge(pair, adapter, folder / "merged")
    served = PeftModel.from_pretrained(load(pair.base), adapter.path)

    def take_in():
        served.load_adapter(adapter.path, "again")
        served.delete_adapter("again")

    def times(action, path):
        return {"cold": median(action, path, True), "warm": median(action, path, False)}

    files = adapter.path / "adapter_model.safetensors", merged / "model.safetensors"
    result = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "rank": RANK,
        "adapter_bytes": adapter.bytes,
        "merged_bytes": adapters.size(files[1]),
        "adapter_load": times(take_in, adapter.path),
        "merged_load": times(lambda: load(merged), merged),
        "adapter_read": times(lambda: read(files[0]), files[0]),
        "merged_read": times(lambda: read(files[1]), files[1]),
    }
    shutil.rmtree(folder)
    return result
