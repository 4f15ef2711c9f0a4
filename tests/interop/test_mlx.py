"""Adapters of `--format mlx` in the real mlx-lm, on a CPU: it loads them strictly, and computes what merged weights compute."""

import json

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models import llama
from mlx_lm.tuner.utils import load_adapters

import command
import pair


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    mx.set_default_device(mx.cpu)


def model(path):
    """The model of mlx-lm with the weights of a checkpoint, all of them."""
    config = json.loads((path / "config.json").read_text())
    built = llama.Model(llama.ModelArgs.from_dict(config))
    weights = built.sanitize(dict(mx.load(str(path / "model.safetensors"))))
    built.load_weights([(name, value.astype(mx.float32)) for name, value in weights.items()], strict=True)
    return built


def logits(built):
    ids = np.fromfile(pair.FOLDER / "eval-tuned.bin", dtype="<u2")[:64].astype(np.int32)
    return np.array(built(mx.array(ids)[None]).astype(mx.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mlx")


@pytest.mark.parametrize("options", [["--rank", 8], ["--energy", "0.5"], ["--rank", 4, "--include", "lm_head|q_proj"]])
def test_what_it_computes_is_what_merged_weights_compute(folder, options):
    name = "-".join(str(option).strip("-|") for option in options).replace("|", "-")
    adapter, merged = folder / name, folder / f"{name}-merged"
    options = [*options, "--dtype", "f32", "--quiet"]
    done = command.run("extract", pair.BASE, pair.TUNED, "-o", adapter, "--format", "mlx", *options)
    assert done.returncode == 0, done.stderr
    done = command.run("merge", pair.BASE, adapter, "-o", merged, "--quiet")
    assert done.returncode == 0, done.stderr
    base = model(pair.BASE)
    before = logits(base)
    found, expected = logits(load_adapters(base, str(adapter))), logits(model(merged))
    moved = np.abs(expected - before).max()
    assert moved > 0.5, "the adapter does something"
    # The merged weights are rounded to the checkpoint's format.
    assert np.abs(found - expected).max() < 0.02 * moved


def test_what_mlx_lm_writes_is_read(folder):
    """An adapter of mlx-lm's own making, with a scale and without some layers."""
    adapter, converted = folder / "own", folder / "own-peft"
    adapter.mkdir()
    rank, scale = 4, 2.5
    keys = ["self_attn.q_proj", "mlp.down_proj"]
    (adapter / "adapter_config.json").write_text(
        json.dumps(
            {
                "fine_tune_type": "lora",
                "num_layers": 2,
                "lora_parameters": {"rank": rank, "scale": scale, "dropout": 0.0, "keys": keys},
            }
        )
    )
    random, tensors = np.random.default_rng(1), {}
    for layer in (2, 3):
        for key in keys:
            out, into = pair.delta(f"model.layers.{layer}.{key}").shape
            for factor, shape in (("lora_a", (into, rank)), ("lora_b", (rank, out))):
                values = 0.05 * random.standard_normal(shape)
                tensors[f"model.layers.{layer}.{key}.{factor}"] = mx.array(values.astype(np.float32))
    mx.save_safetensors(str(adapter / "adapters.safetensors"), tensors)
    done = command.run("convert", adapter, "-o", converted, "--format", "peft", "--quiet")
    assert done.returncode == 0, done.stderr
    updates = command.Adapter(converted, None).updates
    assert len(updates) == 4
    for module, update in updates.items():
        a, b = (np.array(tensors[f"{module}.{factor}"], dtype=np.float64) for factor in ("lora_a", "lora_b"))
        assert np.allclose(update.numpy(), scale * (a @ b).T, rtol=0, atol=1e-12)
    load_adapters(model(pair.BASE), str(adapter))
