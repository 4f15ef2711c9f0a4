"""Tuned models: copies in which every matrix in memory differs by a part of low rank."""

import copy
import re

import torch
from transformers.pytorch_utils import Conv1D

RANK, SIZE = 4, 0.3
VARIANTS = "all", "language", "idle", "everything", "energy", "sharded", "tied", "grown"
LANGUAGE = re.compile(r"(^|\.)(language_model|text_model|decoder|llm)\.")
LINEAR = (torch.nn.Linear, Conv1D)
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
BARE = re.compile(r"Router|Gate|Linear|Dense|Expert", re.I)
STACK = re.compile(r"expert|moe", re.I)
NEW_ROWS = 8


def _vocabulary(model):
    """Parameters of embeddings and of the output head, by identity; tied ones are the same."""
    found = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return found | ({id(head.weight)} if getattr(head, "weight", None) is not None else set())


def owner(model, name):
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def kind(model, name, parameter, vocabulary):
    """`matrix`, `stack` of matrices, `convolution`, or `rest`."""
    module, leaf = owner(model, name)
    if id(parameter) in vocabulary or not parameter.is_floating_point():
        return "rest"
    if leaf == "weight" and isinstance(module, CONVOLUTIONS):
        return "convolution" if module.groups == 1 else "rest"
    if parameter.ndim == 2:
        linear = leaf == "weight" and (isinstance(module, LINEAR) or BARE.search(type(module).__name__))
        joined = leaf == "in_proj_weight" and isinstance(module, torch.nn.MultiheadAttention)
        stacked = re.fullmatch(r"[wv]\d", leaf) and STACK.search(name + type(module).__name__)
        return "matrix" if linear or joined or stacked else "rest"
    if parameter.ndim == 3 and parameter.shape[0] > 1 and STACK.search(name + type(module).__name__):
        return "stack"
    return "rest"


def _low_rank(shape):
    *stack, rows, columns = shape
    rank = min(RANK, rows, columns)
    return torch.randn(*stack, rows, rank) @ torch.randn(*stack, rank, columns)


def _change(parameter, delta, size):
    norm = parameter.norm().item() or 0.02 * parameter.numel() ** 0.5
    parameter += delta * (size * norm / delta.norm().clamp_min(1e-30))


@torch.no_grad()
def tune(model, variant="all"):
    """A copy of `model`; of a stack, the joint gate and up of an expert is one matrix."""
    tuned = copy.deepcopy(model)
    vocabulary = _vocabulary(tuned)
    torch.manual_seed(3)
    for name, parameter in tuned.named_parameters():
        if variant == "language" and not LANGUAGE.search(name):
            continue
        what = kind(tuned, name, parameter, vocabulary)
        if what in ("matrix", "stack"):
            delta = _low_rank(parameter.shape)
            if what == "stack" and variant == "idle":
                delta[1] = 0
            _change(parameter, delta, SIZE)
        elif what == "convolution":
            _change(parameter, _low_rank(parameter.flatten(1).shape).view_as(parameter), SIZE)
        elif variant == "everything" and parameter.is_floating_point():
            _change(parameter, torch.randn_like(parameter), 0.1)
    if variant == "grown":
        torch.manual_seed(4)
        tuned.resize_token_embeddings(tuned.get_input_embeddings().weight.shape[0] + NEW_ROWS, mean_resizing=False)
    return tuned


def applies(model, variant):
    """Whether a variant makes sense for a model."""
    vocabulary = _vocabulary(model)
    names = dict(model.named_parameters())
    if variant == "language":
        return any(LANGUAGE.search(n) for n in names) and any(re.search("visi|image|audio|visual", n) for n in names)
    if variant == "idle":
        return any(kind(model, n, p, vocabulary) == "stack" for n, p in names.items())
    if variant in ("tied", "grown"):
        return hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is not None
    return True
