"""Prints the table of docs/design/compact-form.md: the real pair's nll in PEFT at equal bytes, in f16 and in the compact form.

    "$(tests/interop/setup.sh)" tests/interop/compact_table.py [BYTES …]
"""

import json
import sys
import tempfile
from pathlib import Path

import conftest  # noqa: F401  the settings: no hub, two threads
import command
import pair
import strict

# What f16 factors of rank 2, 4, 8, 16 and 32 take, without header.
SIZES = [55_296, 110_592, 221_184, 442_368, 884_736]


def measured(folder, name, *options):
    """Bytes of the file, kept energy and nll."""
    out, peft = folder / name, folder / f"{name}-peft"
    done = command.run("extract", pair.BASE, pair.TUNED, "-o", out, "--quiet", *options)
    assert done.returncode == 0, done.stderr
    verified = command.run("verify", pair.BASE, pair.TUNED, out, "--json")
    done = command.run("convert", out, "-o", peft, "--format", "peft")
    assert done.returncode == 0, done.stderr
    merged = strict.merge(strict.load_adapter(pair.load(pair.BASE), command.Adapter(peft, None)))
    size = out.stat().st_size if out.is_file() else (out / "adapter_model.safetensors").stat().st_size
    return size, json.loads(verified.stdout)["energy"], pair.nll(merged)


def main():
    print("| bytes | f16, one rank: energy, nll | f16, a budget | compact: bytes of the file, energy, nll |")
    print("|---|---|---|---|")
    for size in [int(word) for word in sys.argv[1:]] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rank = size // 27_648
            _, *plain = measured(Path(folder), "plain", "--rank", rank)
            _, *budget = measured(Path(folder), "budget", "--budget", size + 12_000)
            taken, *compact = measured(Path(folder), "compact.phlora", "--budget", size)
            cells = ["{:.3f}, {:.4f}".format(*found) for found in (plain, budget, compact)]
            print(f"| {size} | {cells[0]} | {cells[1]} | {taken}, {cells[2]} |", flush=True)


main()
