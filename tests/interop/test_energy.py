"""Kept energy on the real pair: the report and the files against exact SVDs by LAPACK in float64."""

import pytest

import command
import pair

RANKS = [4, 16, 64]
# mode -> the least share of the optimum that each module keeps; None is the default mode.
LEAST = {None: 0.999, "multi-read": 0.999, "stream-once": 0.97}
MODES = pytest.mark.parametrize("mode", LEAST, ids=lambda mode: mode or "default")
SLACK = 1e-5  # float32 factors against float64 references


@MODES
@pytest.mark.parametrize("rank", RANKS)
def test_each_module_keeps_nearly_what_is_possible(adapters, rank, mode):
    adapter = adapters(rank, "f32", mode)
    reported = {module["name"]: module["energy"] for module in adapter.report["modules"]}
    assert sorted(reported) == sorted(pair.MODULES)
    for module, energy in reported.items():
        best = pair.optimum(module, rank)
        assert LEAST[mode] * best <= energy <= best + SLACK, module
        assert LEAST[mode] * best <= pair.kept(adapter, module) <= best + SLACK, module


@MODES
@pytest.mark.parametrize("rank", RANKS)
def test_the_report_says_what_the_files_hold(adapters, rank, mode):
    adapter = adapters(rank, "f32", mode)
    for module in adapter.report["modules"]:
        name, values = module["name"], module["singular_values"]
        difference = pair.delta(name)
        assert module["shape"] == list(difference.shape), name
        assert module["rank"] == len(values) == rank, name
        assert values == sorted(values, reverse=True), name
        assert module["delta_norm"] == pytest.approx(difference.norm().item(), rel=1e-6), name
        assert module["energy"] == pytest.approx(sum(v * v for v in values) / module["delta_norm"] ** 2, rel=SLACK), name
        if mode == "stream-once":  # truncated on the way, so it may keep more than it can know, never less
            assert module["energy"] <= pair.kept(adapter, name) + SLACK, name
        else:
            assert module["energy"] == pytest.approx(pair.kept(adapter, name), abs=SLACK), name


@pytest.mark.parametrize("rank", RANKS)
def test_totals(adapters, rank):
    adapter = adapters(rank, "f32")
    total = adapter.report["total"]
    assert total["energy"] == pytest.approx(pair.kept_total(adapter), abs=SLACK)
    assert total["energy"] == pytest.approx(pair.EXACT[rank][0], rel=1e-3)
    norm = sum(pair.delta(module).norm().item() ** 2 for module in pair.MODULES) ** 0.5
    assert total["delta_norm"] == pytest.approx(norm, rel=1e-6)
    assert total["parameters_in"] == sum(pair.delta(module).numel() for module in pair.MODULES)
    assert total["parameters_out"] == sum(tensor.numel() for tensor in adapter.tensors.values())


def test_what_is_left_out_is_said(adapters):
    """The shares that the pair's README gives: 28 modules 56.7 %, lm_head 42.6 %, the embedding 0.7 %."""
    report = adapters(16, "f32").report
    left = {entry["name"].removesuffix(".weight"): entry["delta_norm"] ** 2 for entry in report["left_out"]}
    extracted = report["total"]["delta_norm"] ** 2
    whole = extracted + sum(left.values())
    assert extracted / whole == pytest.approx(0.567, abs=1e-3)
    assert left["lm_head"] / whole == pytest.approx(0.426, abs=1e-3)
    assert left["model.embed_tokens"] / whole == pytest.approx(0.007, abs=1e-3)
    assert all(entry["reason"] for entry in report["left_out"])


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_verify_fails_above_the_kept_energy_only(adapters, dtype):
    adapter = adapters(16, dtype)
    energy = pair.kept_total(adapter)
    for least, code in ((energy - 1e-3, 0), (energy + 1e-3, 1)):
        done = command.run("verify", pair.BASE, pair.TUNED, adapter.path, "--min-energy", f"{least:.6f}")
        assert done.returncode == code, f"{least}: exit {done.returncode}\n{done.stdout}{done.stderr}"
