"""Builds a small model of any architecture, with random weights that let every matrix show in the outputs."""

import copy
import re

import torch

import catalogue
import inputs
import shrink

LIMIT = 80_000_000


class Unbuildable(Exception):
    """Why an architecture cannot be built small here."""


def short(error):
    text = re.sub(r"(requires the .+? library).*", r"\1", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:300]


def configurations(model_type):
    """Small configurations, the smallest first; errors in their place."""
    model_class = catalogue.model_class(model_type)
    config_class = catalogue.config_class(model_type)
    own = getattr(model_class, "config_class", None) or config_class
    if not issubclass(config_class, own):
        config_class = own
    for few in (False, None, True):
        try:
            yield shrink.small(config_class, None, few)
        except Exception as error:
            yield error


def from_config(model_class, config, seed):
    with torch.device("meta"):
        size = sum(p.numel() for p in model_class(copy.deepcopy(config)).parameters())
    if size > LIMIT:
        raise Unbuildable(f"still {size / 1e6:.0f} M parameters")
    torch.manual_seed(seed)
    model = model_class(config).float().eval()
    spread(model)
    return model


@torch.no_grad()
def spread(model):
    """Weights as large as in trained models: nothing is zero, and every matrix keeps the size of its input."""
    for name, parameter in model.named_parameters():
        if not parameter.numel():
            continue
        if parameter.ndim >= 2 and parameter.dtype == torch.float32:
            stack = parameter.ndim == 3 and "conv" not in name and "kernel" not in name
            fan_in = parameter.shape[-1] if stack else parameter[0].numel()
            parameter.normal_(0, fan_in**-0.5)
        elif not parameter.any():
            parameter.normal_(0, 0.1)


def model(model_type, seed=1, tied=False):
    """(model, calls that run): the first small configuration whose forward runs, else the first that can be built."""
    reasons, built = [], None
    for config in configurations(model_type):
        try:
            if isinstance(config, Exception):
                raise config
            if tied:
                config.tie_word_embeddings = True
            candidate = from_config(catalogue.model_class(model_type), config, seed)
        except Exception as error:
            reasons.append(short(error))
            continue
        calls, failures = inputs.calls(candidate)
        if calls:
            return candidate, calls, ""
        reasons += failures
        built = built or candidate
    if built is None:
        raise Unbuildable("; ".join(dict.fromkeys(reasons)))
    return built, [], "; ".join(dict.fromkeys(reasons))[:400]
