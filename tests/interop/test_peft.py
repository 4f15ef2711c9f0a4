"""Adapters of the real pair in the real PEFT: loading, merged weights, perplexity."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

import command
import pair
import strict

RANKS = [4, 16, 64]
FORMATS = [(rank, dtype) for dtype in ("f32", "f16") for rank in RANKS] + [(16, "bf16")]
EPSILON = 2.0**-24  # unit roundoff of float32


@pytest.fixture(scope="module")
def merged(adapters):
    """Function (rank, dtype) -> merged model."""
    done = {}

    def get(rank, dtype):
        if (rank, dtype) not in done:
            loaded = strict.load_adapter(pair.load(pair.BASE), adapters(rank, dtype))
            done[rank, dtype] = strict.merge(loaded)
        return done[rank, dtype]

    return get


def test_the_pair_is_measured_as_its_readme_says(base_nll, tuned_nll):
    assert base_nll == pytest.approx(pair.BASE_NLL, abs=2e-3)
    assert tuned_nll == pytest.approx(pair.TUNED_NLL, abs=2e-3)


@pytest.mark.parametrize("rank, dtype", FORMATS)
def test_files(adapters, rank, dtype):
    adapter = adapters(rank, dtype)
    assert sorted(adapter.factors) == sorted(pair.MODULES)
    stored = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    assert {tensor.dtype for tensor in adapter.tensors.values()} == {stored}
    for module, (a, b) in adapter.factors.items():
        out, into = pair.delta(module).shape
        assert (a.shape, b.shape) == ((rank, into), (out, rank))
    assert adapter.config["r"] == adapter.config["lora_alpha"] == rank


def test_a_missing_factor_does_not_pass_unseen(adapters, tmp_path):
    """The tests below rest on warnings being seen: an adapter that lacks a factor must fail to load here."""
    adapter = adapters(4, "f32")
    shutil.copytree(adapter.path, tmp_path, dirs_exist_ok=True)
    tensors = dict(sorted(adapter.tensors.items())[1:])
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(UserWarning, match="missing adapter keys"):
        strict.load_adapter(pair.load(pair.BASE), command.Adapter(tmp_path, None))


@pytest.mark.parametrize("rank, dtype", FORMATS)
def test_merged_weights_are_base_plus_b_times_a(adapters, merged, rank, dtype):
    """Each merged entry is within the worst that float32 can do to w + sum(b_k a_k), in whatever order it sums:
    (r + 1) roundings on the products' magnitudes and one on the result. Everything else is the base's, to the bit.
    """
    adapter = adapters(rank, dtype)
    state = merged(rank, dtype).state_dict()
    base = pair.weights(pair.BASE)
    assert state.keys() == base.keys()
    for name, weight in base.items():
        factors = adapter.factors.get(name.removesuffix(".weight"))
        if factors is None:
            assert torch.equal(state[name].double(), weight), name
            continue
        a, b = factors
        expected = weight + b @ a
        bound = EPSILON * ((rank + 1) * (b.abs() @ a.abs()) + expected.abs()) * 1.001
        assert ((state[name].double() - expected).abs() <= bound).all(), name


@pytest.mark.parametrize("rank, dtype", FORMATS)
def test_perplexity_is_the_exact_svds(merged, rank, dtype, base_nll, tuned_nll):
    measured = pair.nll(merged(rank, dtype))
    assert tuned_nll < measured < base_nll
    assert measured == pytest.approx(pair.EXACT[rank][1], rel=0.01)


@pytest.mark.parametrize("dtype", ["f32", "f16"])
def test_perplexity_falls_as_the_rank_grows(merged, dtype, base_nll, tuned_nll):
    falling = [base_nll, *(pair.nll(merged(rank, dtype)) for rank in RANKS), tuned_nll]
    assert all(higher > lower for higher, lower in zip(falling, falling[1:])), falling


def extract_and_merge(folder, rank, *options):
    adapter = command.extract(pair.BASE, pair.TUNED, folder / "adapter", rank, None, None, *options)
    return adapter, strict.merge(strict.load_adapter(pair.load(pair.BASE), adapter))


def test_a_rank_above_some_modules_narrow_side_stays_uniform(tmp_path, tuned_nll):
    """k_proj and v_proj have 96 rows: servers want one rank for all, so the rest of their factors is nothing."""
    adapter, merged = extract_and_merge(tmp_path, 128)
    assert {a.shape[0] for a, _ in adapter.factors.values()} == {128}
    capped = {m["name"]: m["rank"] for m in adapter.report["modules"] if m["rank"] < 128}
    assert capped == {name: 96 for name in pair.MODULES if name.endswith(("k_proj", "v_proj"))}
    assert tuned_nll < pair.nll(merged) == pytest.approx(1.5069, rel=0.01)


def test_the_output_head_comes_along_when_asked_for(adapters, merged, tmp_path, tuned_nll):
    adapter, with_head = extract_and_merge(tmp_path, 64, "--include", "lm_head", "--include", "_proj")
    assert sorted(adapter.factors) == sorted([*pair.MODULES, "lm_head"])
    assert tuned_nll < pair.nll(with_head) < pair.nll(merged(64, "f32"))
