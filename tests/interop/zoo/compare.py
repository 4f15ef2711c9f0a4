"""Compares weights and outputs of two models."""

import torch


def weights(model):
    """Every parameter in memory; tied ones once."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def common(*tensors):
    """The part that all have, where a vocabulary grew."""
    cut = tuple(slice(0, min(sizes)) for sizes in zip(*(t.shape for t in tensors)))
    return [t[cut].double() for t in tensors]


def squares(one, other):
    """{name: ‖one − other‖²}."""
    result = {}
    for name, tensor in one.items():
        if name in other and tensor.is_floating_point():
            a, b = common(tensor, other[name])
            result[name] = (a - b).square().sum().item()
    return result


def distance(outputs, tuned, base):
    """‖outputs − tuned‖ / ‖tuned − base‖, each tensor in units of its own size; None where nothing differs."""
    lost = whole = 0.0
    for tensors in zip(outputs, tuned, base):
        if len({t.ndim for t in tensors}) > 1:
            return float("inf")
        o, t, b = (torch.nan_to_num(x, 0, 0, 0) for x in common(*tensors))
        unit = t.square().sum().clamp_min(1e-30)
        lost += ((o - t).square().sum() / unit).item()
        whole += ((t - b).square().sum() / unit).item()
    return (lost / whole) ** 0.5 if whole > 1e-12 else None
