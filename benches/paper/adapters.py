"""Runs the command under test: adapters of a pair, and the base with an adapter merged into it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PHLORA_BIN", ROOT / "target/release/phlora"))
VARIANTS = {
    "rank 4": ["--rank", "4"],
    "rank 8": ["--rank", "8"],
    "rank 16": ["--rank", "16"],
    "rank 32": ["--rank", "32"],
    "energy 0.9": ["--energy", "0.9"],
    "rank 16, norms, biases": ["--rank", "16", "--also", "norms,biases"],
}


@dataclass
class Adapter:
    path: Path
    energy: float  # of the modules, before rounding
    whole_energy: float  # of all that fine-tuning changed, after rounding
    bytes: int
    left_out: dict[str, float]  # reason -> share of the whole difference
    said: list[str]  # on standard error, by phlora


def run(*words):
    """`phlora WORDS`: its standard error, or an exception with it."""
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()}")
    return done.stderr


def size(path):
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def extract(pair, variant, out):
    report = out.with_suffix(".json")
    options = [*VARIANTS[variant], *pair.options]
    said = run("extract", pair.base, pair.tuned, "-o", out, "--report", report, "--quiet", *options).splitlines()
    report = json.loads(report.read_text())
    total, left_out = report["total"], {}
    for tensor in report["left_out"]:
        if tensor["delta_norm"]:
            reason = tensor["reason"].split(":")[0]
            left_out[reason] = left_out.get(reason, 0) + (tensor["delta_norm"] / total["whole_norm"]) ** 2
    return Adapter(out, total["energy"], total["whole_energy"], size(out), left_out, said)


def merge(pair, adapter, out):
    run("merge", pair.base, adapter.path, "-o", out, "--quiet")
    return out
