"""A sample of the zoo: 25 architectures of all families, each through the real PEFT. `run.py` judges all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import catalogue


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{type: result}, judged in a process of its own, which forks."""
    out = tmp_path_factory.mktemp("zoo") / "zoo.jsonl"
    command = [sys.executable, Path(__file__).with_name("run.py"), "--sample", "--out", out]
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    return {r["type"]: r for r in map(json.loads, out.read_text().splitlines())}


def of(results, *verdicts):
    return {name: (r["verdict"], r["remarks"]) for name, r in results.items() if r["verdict"] in verdicts}


def test_every_model_of_the_sample_can_be_judged(results):
    assert len(results) == 25
    assert not of(results, "unbuildable", "judge", "peft")


def test_every_adapter_loads_and_runs(results):
    assert not of(results, "error", "refused")


def test_what_is_lost_is_said(results):
    assert not of(results, "dishonest")


@pytest.mark.parametrize("name", catalogue.SAMPLE)
def test_all_of_it_arrives(results, name):
    assert results[name]["verdict"] == "pass", results[name]["remarks"]
