"""What llama.cpp makes of adapters that are wrong in one way each, and that `phlora check` says so before it does."""

import json
import re

import numpy as np
import pytest

import command
import llama
import made
import malformed
import pair

SHAPES = {
    "llama": {malformed.UP: (512, 192), "blk.1.attn_q.weight": (192, 192)},
    "tied": {malformed.UP: (160, 64)},
    "experts": {malformed.EXPERTS: (4, 96, 64), "blk.0.attn_q.weight": (64, 64)},
}
IDS = np.arange(3, 67).reshape(4, 16)
CASES = pytest.mark.parametrize("case", malformed.CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """{kind: (GGUF, its logits)}."""
    folder = tmp_path_factory.mktemp("bases")
    paths = {
        "llama": made.as_gguf(pair.load(pair.BASE), folder / "llama.gguf"),
        "tied": made.as_gguf(made.tied(), folder / "tied.gguf"),
        "experts": made.gguf_model.write(folder / "experts.gguf", made.experts(), made.EXPERTS),
    }
    return {kind: (path, llama.logits(path, IDS)) for kind, path in paths.items()}


def build(case, path):
    parts = malformed.Parts(SHAPES[case.base])
    if case.base == "tied":
        parts.architecture = "qwen2"
    case.change(parts)
    parts.write(path)
    path.write_bytes(case.patch(path.read_bytes()))
    return path


@CASES
def test_what_llama_makes_of_it(case, bases, tmp_path):
    adapter = build(case, tmp_path / "adapter.gguf")
    base, without = bases[case.base]
    said = ""
    try:
        found = llama.logits(base, IDS, adapter)
        if not np.isfinite(found).all():
            outcome = "not a number"
        else:
            outcome = "effect" if np.abs(found - without).max() > 1e-3 else "no effect"
    except llama.Failed as failed:
        outcome, said = failed.outcome, failed.said
    assert outcome == case.outcome, said
    assert case.said in said


def findings(adapter, base):
    """{"severity code"}, and whether the command failed because of them."""
    done = command.run("check", adapter, "--base", base, "--json")
    assert done.returncode in (0, 1), f"phlora check: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return {f"{finding['severity']} {finding['code']}" for finding in json.loads(done.stdout)}, done.returncode == 1


@CASES
def test_what_phlora_check_says_before(case, bases, tmp_path):
    found, failed = findings(build(case, tmp_path / "adapter.gguf"), bases[case.base][0])
    if case.finding is None:
        assert found == set()
    else:
        assert case.finding in found
    works = case.outcome in ("effect", "no effect")
    assert failed == any(finding.startswith("error ") for finding in found) == (not works)


def test_every_case_is_in_the_table_of_checks():
    """And each code of the table that llama.cpp can be seen on has a case: the others say why they have none."""
    table = (command.ROOT / "docs/checks.md").read_text().split("## What other programs do")[0]
    listed = {code for row in re.findall(r"^\|(.*?)\|", table, re.M) for code in re.findall(r"`([a-z-]+)`", row)}
    seen = {case.finding.split()[1] for case in malformed.CASES if case.finding}
    # Another architecture than those written here; those of adapters that are no GGUF, which llama.cpp never reads.
    others = {"needs-conversion", "adapter-invalid", "no-place", "other-names", "new-head", "dora"}
    assert listed - seen == {"architecture-ignores"} | others
    assert seen <= listed
