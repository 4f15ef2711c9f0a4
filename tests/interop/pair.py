"""The real pair in tests/data/tiny-llama: its weights, its perplexities, its exact SVDs."""

import functools

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

import strict
from command import ROOT

FOLDER = ROOT / "tests/data/tiny-llama"
BASE, TUNED = FOLDER / "base", FOLDER / "tuned"
PROJECTIONS = [f"self_attn.{p}_proj" for p in "qkvo"] + [f"mlp.{p}_proj" for p in ("gate", "up", "down")]
MODULES = [f"model.layers.{layer}.{projection}" for layer in range(4) for projection in PROJECTIONS]

# From the pair's own README: rank -> (energy kept over the 28 modules, nll) of exact truncated SVDs.
EXACT = {4: (0.2834, 2.0663), 16: (0.6131, 1.6904), 64: (0.9419, 1.5167)}
BASE_NLL, TUNED_NLL = 4.6161, 1.3684


def load(path):
    return strict.load_base(LlamaForCausalLM, path)


@functools.cache
def weights(path):
    """Every tensor of a checkpoint, in float64."""
    return {name: tensor.double() for name, tensor in load_file(path / "model.safetensors").items()}


@functools.cache
def delta(module):
    return weights(TUNED)[f"{module}.weight"] - weights(BASE)[f"{module}.weight"]


@functools.cache
def squares(module):
    """Squared singular values of a module's difference, by LAPACK in float64."""
    return np.linalg.svd(delta(module).numpy(), compute_uv=False) ** 2


def optimum(module, rank):
    """The most energy that factors of this rank can keep."""
    return squares(module)[:rank].sum() / squares(module).sum()


def kept(adapter, module):
    """The energy that an adapter's files keep of a module: 1 - |D - BA|^2/|D|^2."""
    return 1 - ((delta(module) - adapter.updates[module]).norm() / delta(module).norm()).item() ** 2


def kept_total(adapter):
    """The same over all 28 modules."""
    lost = sum((delta(module) - adapter.updates[module]).norm() ** 2 for module in MODULES)
    return 1 - (lost / sum(delta(module).norm() ** 2 for module in MODULES)).item()


@torch.no_grad()
def nll(model):
    """Mean negative log-likelihood, nats per token: 16,384 ids as batches of 16 rows of 256, each row by itself."""
    ids = np.fromfile(FOLDER / "eval-tuned.bin", dtype="<u2")[:16384].astype(np.int64)
    batches = torch.from_numpy(ids).view(-1, 16, 256)
    return float(np.mean([model(input_ids=batch, labels=batch).loss.item() for batch in batches]))
