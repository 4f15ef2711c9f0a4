"""Extracted adapters in the real llama.cpp: loading, effect, perplexity; every way that a pair may come."""

import json
import math

import numpy as np
import pytest
import torch

import command
import gguf_model
import llama
import made
import pair
import strict
from gguf_pair import FEW, IDS, SMALL, apart, convert, extract, ids_of, merge

RANKS = [4, 16, 64]
CLOSE = {"f32": 5e-4, "f16": 5e-3}


@pytest.mark.parametrize("side", ["base", "tuned"])
def test_the_models_written_here_are_those_of_transformers(any_pair, side):
    ids = ids_of(any_pair)
    with torch.no_grad():
        expected = any_pair.model(side)(input_ids=torch.from_numpy(ids.astype(np.int64))).logits.numpy()
    assert apart(llama.logits(any_pair.gguf(side), ids), expected) < 1e-4


# Loading, effect, perplexity.


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("kind", CLOSE)
def test_base_with_adapter_is_base_plus_b_times_a(real, kind, rank, tmp_path):
    adapter, base = real.adapter(rank), real.gguf("base", kind)
    merged = merge(base, adapter, real.config, tmp_path / "merged.gguf", np.float32 if kind == "f32" else np.float16)
    found, expected = llama.logits(base, FEW, adapter), llama.logits(merged, FEW)
    assert apart(found, expected) < CLOSE[kind]
    assert apart(llama.logits(base, FEW), expected) > 1  # so the adapter is what does it


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0"])
def test_a_quantised_base_takes_the_adapter(real, kind, tmp_path):
    """Against base + B·A in f32, the base as its file decodes: what is left is llama.cpp's own rounding of products."""
    adapter, base = real.adapter(16), real.gguf("base", kind)
    merged = merge(base, adapter, real.config, tmp_path / "merged.gguf")
    found, expected = llama.nll(base, IDS[:16], adapter), llama.nll(merged, IDS[:16])
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0", "q4_k"])
def test_a_wide_base_takes_the_adapter(wide, kind, tmp_path):
    adapter, base = wide.adapter(8), wide.gguf("base", kind)
    if kind == "q4_k":
        assert {str(t.tensor_type.name) for t in gguf_model.gguf.GGUFReader(base).tensors if len(t.shape) > 1} == {"Q4_K"}
    merged = merge(base, adapter, wide.config, tmp_path / "merged.gguf")
    found, expected = llama.logits(base, SMALL, adapter), llama.logits(merged, SMALL)
    without = np.linalg.norm(llama.logits(base, SMALL) - expected)
    assert np.linalg.norm(found - expected) < (1e-4 if kind == "f32" else 0.1) * without


@pytest.mark.parametrize("rank", RANKS)
def test_perplexity_is_pefts(real, adapters, rank):
    in_peft = strict.merge(strict.load_adapter(pair.load(pair.BASE), adapters(rank, "f32")))
    found = llama.nll(real.gguf("base"), IDS, real.adapter(rank))
    assert math.exp(found) == pytest.approx(math.exp(pair.nll(in_peft)), rel=0.01)
    assert found == pytest.approx(pair.EXACT[rank][1], rel=0.01)


@pytest.mark.parametrize("dtype, within", [("f16", 3e-3), ("bf16", 3e-2), ("q8_0", 3e-2)])
def test_storage_formats(real, dtype, within):
    adapter = real.adapter(64, "--dtype", dtype)
    stored = {tensor.tensor_type.name.lower() for tensor in gguf_model.gguf.GGUFReader(adapter).tensors}
    assert dtype in stored
    found, expected = (llama.logits(real.gguf("base"), FEW, path) for path in (adapter, real.adapter(64)))
    assert 0 < apart(found, expected) < within


@pytest.mark.parametrize("dtype, most", [("q8_0", 475), ("q5_1", 337), ("q5_0", 309), ("q4_1", 281), ("iq4_nl", 254), ("q4_0", 254)])
def test_few_bits_cost_the_model_little(real, dtype, most):
    adapter, base = real.adapter(32, "--dtype", dtype), real.gguf("base")
    stored = {tensor.tensor_type.name.lower() for tensor in gguf_model.gguf.GGUFReader(adapter).tensors}
    assert stored == {dtype} and adapter.stat().st_size <= 1000 * most
    halves = llama.nll(base, IDS, real.adapter(32, "--dtype", "f16"))
    assert llama.nll(base, IDS, adapter) == pytest.approx(halves, abs=0.006)


@pytest.mark.parametrize("rank", [4, 16])
def test_a_budget_is_better_than_one_rank_for_all(real, rank, tmp_path):
    even, base = real.adapter(rank, "--dtype", "f16"), real.gguf("base")
    sizes = ["--budget", even.stat().st_size]
    found = []
    for name, options in [("halves", ["--dtype", "f16"]), ("any", [])]:
        out = tmp_path / f"{name}.gguf"
        done = command.run("extract", pair.BASE, pair.TUNED, "-o", out, "--quiet", *sizes, *options)
        assert done.returncode == 0, done.stderr
        found.append(llama.nll(base, IDS, out))
    assert llama.nll(base, IDS, even) + 0.002 > found[0] > found[1] + 0.05


def test_scales_and_several_adapters_at_once(real, tmp_path):
    adapter, base = real.adapter(16), real.gguf("base")
    halves = llama.logits(base, FEW, (adapter, 0.5), (adapter, 0.5))
    assert apart(halves, llama.logits(base, FEW, adapter)) < 1e-4
    assert apart(llama.logits(base, FEW, (adapter, 0.0)), llama.logits(base, FEW)) < 1e-6


@pytest.mark.parametrize("how", ["buffer", "inside"])
def test_from_memory(real, how):
    adapter, base = real.adapter(16), real.gguf("base")
    assert np.array_equal(llama.logits(base, FEW, (adapter, 1.0, how)), llama.logits(base, FEW, adapter))


@pytest.mark.parametrize("rank", RANKS)
def test_an_adapter_for_the_deployed_base_repairs_its_quantisation(real, rank):
    deployed = real.gguf("base", "q4_0")
    plain, repairing = (real.adapter(rank, "--dtype", "f16", *more) for more in ((), ("--deployed-base", deployed)))
    alone, with_plain, repaired = (llama.nll(deployed, IDS, *adapter) for adapter in ((), (plain,), (repairing,)))
    assert repaired < with_plain < alone
    total = json.loads(repairing.with_suffix(".json").read_text())["total"]
    assert 0 < total["repair_norm"] < total["tuning_norm"]


# Every way that a pair may come.


# Containers order the rows of a matrix differently. Multi-read extractions start from sums of rows and end within a
# tolerance of the optimum, so the order shows; in exact ones it does not.
EXACT = ("--dtype", "f32", "--mode", "exact")


def test_all_mixes_of_containers_give_the_same_adapter(any_pair, tmp_path):
    rank, f32 = 8, EXACT
    hf, files = any_pair.hf, {side: any_pair.gguf(side) for side in ("base", "tuned")}
    peft = extract(hf["base"], hf["tuned"], tmp_path / "peft", rank, *f32)
    ways = {
        "converted": convert(peft, tmp_path / "converted.gguf", "--base", hf["base"]),
        "converted, names of the file": convert(peft, tmp_path / "named.gguf", "--base", files["base"]),
        "GGUF and GGUF": extract(files["base"], files["tuned"], tmp_path / "both.gguf", rank, *f32),
        "HF and GGUF": extract(hf["base"], files["tuned"], tmp_path / "second.gguf", rank, *f32),
        "GGUF and HF": extract(files["base"], hf["tuned"], tmp_path / "first.gguf", rank, *f32),
    }
    ids = ids_of(any_pair)
    expected = llama.logits(files["base"], ids, any_pair.adapter(rank, *f32))
    assert apart(llama.logits(files["base"], ids), expected) > 0.05
    for way, adapter in ways.items():
        assert apart(llama.logits(files["base"], ids, adapter), expected) < 5e-4, way


def test_from_gguf_into_peft(any_pair, tmp_path):
    """The way back: a PEFT adapter out of two GGUF files, in the real PEFT on the Hugging Face base."""
    files = [any_pair.gguf(side) for side in ("base", "tuned")]
    made_so = extract(*files, tmp_path / "adapter", 8, *EXACT)
    ids = torch.from_numpy(ids_of(any_pair).astype(np.int64))
    base = strict.load_base(type(any_pair.model("base")), any_pair.hf["base"])
    loaded = strict.load_adapter(base, command.Adapter(made_so, None))
    with torch.no_grad():
        found = loaded(input_ids=ids).logits.numpy()
    assert apart(found, llama.logits(files[0], ids.numpy(), any_pair.adapter(8, *EXACT))) < 5e-4


# Stacks of experts.


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    base = made.experts()
    tuned = made.tuned_experts(base)
    sides = {"base": base, "tuned": tuned}
    return {side: gguf_model.write(folder / f"{side}.gguf", tensors, made.EXPERTS) for side, tensors in sides.items()}


def test_each_expert_of_a_stack_is_extracted(experts, tmp_path):
    adapter = extract(experts["base"], experts["tuned"], tmp_path / "adapter.gguf", 8, "--dtype", "f32")
    stacks = {name for name in gguf_model.read(experts["base"]) if "_exps" in name}
    updates = gguf_model.updates(adapter)
    assert stacks <= updates.keys()
    base, tuned = gguf_model.read(experts["base"]), gguf_model.read(experts["tuned"])
    for name in stacks:
        for expert, update in enumerate(updates[name]):
            difference = tuned[name][expert].astype(np.float64) - base[name][expert]
            squares = np.linalg.svd(difference, compute_uv=False) ** 2
            kept = 1 - np.linalg.norm(difference - update) ** 2 / squares.sum()
            assert kept >= 0.999 * squares[:8].sum() / squares.sum(), (name, expert)
    merged = merge(experts["base"], adapter, made.EXPERTS, tmp_path / "merged.gguf")
    found, expected = llama.logits(experts["base"], SMALL, adapter), llama.logits(merged, SMALL)
    assert apart(found, expected) < 5e-4
    after = llama.logits(experts["tuned"], SMALL)
    assert np.linalg.norm(found - after) < 0.1 * np.linalg.norm(llama.logits(experts["base"], SMALL) - after)
