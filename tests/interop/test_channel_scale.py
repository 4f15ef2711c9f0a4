"""Channel scales out of a real forward pass: the error of the layers' outputs, on other tokens, is what gets smaller."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import command
import pair

CALIBRATION, HELD_BACK = slice(16384, 24576), slice(0, 8192)


@torch.no_grad()
def second_moments(tokens):
    """XᵀX of every module's inputs X of the tuned model, in float64."""
    model = pair.load(pair.TUNED)
    moments = {}

    def watch(name):
        def hook(module, inputs):
            x = inputs[0].double().reshape(-1, inputs[0].shape[-1])
            moments[name] = moments.get(name, 0) + x.T @ x

        return hook

    for name in pair.MODULES:
        model.get_submodule(name).register_forward_pre_hook(watch(name))
    ids = np.fromfile(pair.FOLDER / "eval-tuned.bin", dtype="<u2")[tokens].astype(np.int64)
    model(input_ids=torch.from_numpy(ids).view(-1, 256))
    return moments


def write_scales(path):
    """The root mean square of each input channel."""
    count = CALIBRATION.stop - CALIBRATION.start
    moments = second_moments(CALIBRATION)
    save_file({name: (m.diagonal() / count).sqrt().float() for name, m in moments.items()}, path)
    return path


@pytest.mark.parametrize("rank", [4, 16])
def test_the_output_error_is_smaller(rank, tmp_path):
    scales = write_scales(tmp_path / "scales.safetensors")
    moments = second_moments(HELD_BACK)
    error = lambda left, name: torch.einsum("ij,jk,ik->", left, moments[name], left).item()
    smaller, sums = 0, {}
    adapters = {
        name: command.extract(pair.BASE, pair.TUNED, tmp_path / name, rank, None, None, *more)
        for name, more in {"plain": (), "weighed": ("--channel-scale", scales)}.items()
    }
    for module in pair.MODULES:
        of = {name: error(pair.delta(module) - a.updates[module], module) for name, a in adapters.items()}
        smaller += of["weighed"] < of["plain"]
        for name in of:
            sums[name] = sums.get(name, 0) + of[name] / error(pair.delta(module), module)
    print(f"rank {rank}: {sums}, smaller in {smaller} of {len(pair.MODULES)}")
    # Scales know no correlation between channels, so not every module need gain.
    assert sums["weighed"] < sums["plain"] and smaller > len(pair.MODULES) / 2, (sums, smaller)
