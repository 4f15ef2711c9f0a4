#!/usr/bin/env python3
"""Prints the part `rate_distortion` of benches/results/pair.json: the compact form beside what no form of so many bytes can beat.

    "$(tests/interop/setup.sh)" benches/compare/rate_distortion.py

The bound: entries of singular vectors as independent normal variables, of which b bits leave at least 4^-b of the variance
(Gaussian rate-distortion function), so that a direction keeps (1 - 4^-b)^2 of its worth. Bits are real numbers, each direction
has those that pay best at one price (reverse water-filling), and direction i of a matrix has 2i - 1 entries less than
rows + cols, as its vectors are orthonormal to those before. Names, header, scales and choices cost nothing there.

The efficiency is the bytes that the bound needs for what a file keeps, over the bytes of the file. What is kept is what
the file was asked to keep: energy, or energy over the squares of the weight, by which the compact form chooses by default.

PHLORA_BIN: the command under test; default target/release/phlora
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PHLORA_BIN", ROOT / "target/release/phlora")
PAIR = ROOT / "tests/data/tiny-llama"
SIZES = [221_184, 110_592]
BITS = np.linspace(0, 12, 2401)
KEPT = (1 - 4.0**-BITS) ** 2


def bound(worth, entries):
    """(bytes, kept share) at falling prices of a byte."""
    points = []
    for price in np.exp(np.linspace(np.log(1e-4), np.log(1e-14), 240)):
        chosen = (worth[:, None] * KEPT - price * entries[:, None] * BITS).argmax(1)
        points.append(((entries * BITS[chosen]).sum() / 8, (worth * KEPT[chosen]).sum()))
    return np.array(points).T


def extract(size, by, folder):
    out, report = folder / "adapter.phlora", folder / "report.json"
    options = ["--budget", str(size), "--by", by, "--report", report, "--quiet", "--force"]
    subprocess.run([BINARY, "extract", PAIR / "base", PAIR / "tuned", "-o", out, *options], check=True)
    return json.loads(report.read_text()) | {"header": header(out)}


def header(path):
    """Bytes of a safetensors file that are no data."""
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def main():
    base, tuned = (load_file(PAIR / side / "model.safetensors") for side in ("base", "tuned"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        reports = {(size, by): extract(size, by, folder) for size in SIZES for by in ("relative", "energy")}
    names = {module["name"] for report in reports.values() for module in report["modules"]}
    squares, entries, norms = {}, [], {}
    for name in sorted(names):
        before, after = (side[f"{name}.weight"].double().numpy() for side in (base, tuned))
        squares[name] = np.linalg.svd(after - before, compute_uv=False) ** 2
        norms[name] = (before**2).sum()
        entries.append(sum(before.shape) - 2 * np.arange(len(squares[name])) - 1)
    entries = np.concatenate(entries)
    for (size, by), report in reports.items():
        weigh = {name: 1.0 if by == "energy" else 1 / norms[name] for name in norms}
        worth = np.concatenate([squares[name] * weigh[name] for name in squares])
        bytes_at, kept_at = bound(worth / worth.sum(), entries)
        of = lambda m: (m["energy"] - m["rounding_loss"]) * squares[m["name"]].sum() * weigh[m["name"]]  # noqa: E731
        kept = sum(map(of, report["modules"])) / worth.sum()
        needed = np.interp(kept, kept_at, bytes_at)
        rows.append({"by": by, "bytes": report["bytes_out"], "header": report["header"], "kept": round(float(kept), 4)})
        rows[-1] |= {"bound": round(float(np.interp(size, bytes_at, kept_at)), 4), "needed": int(needed)}
        rows[-1]["efficiency"] = round(float(needed) / report["bytes_out"], 4)
    print(json.dumps({"rate_distortion": rows}, indent=1))


main()
