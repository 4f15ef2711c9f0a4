"""Prints the README's table: rank, kept energy, perplexity of the merged model, on the real pair.

    "$(tests/interop/setup.sh)" tests/interop/table.py [RANK …]
"""

import math
import sys
import tempfile
from pathlib import Path

import conftest  # noqa: F401  the settings: no hub, two threads
import command
import pair
import strict

RANKS = [4, 8, 16, 32, 64]


def row(name, energy, nll):
    print(f"| {name} | {energy} | {nll:.4f} | {math.exp(nll):.2f} |", flush=True)


def main():
    print("| model | energy kept | nll (nats per token) | perplexity |")
    print("|---|---|---|---|")
    row("base", 0, pair.nll(pair.load(pair.BASE)))
    with tempfile.TemporaryDirectory() as folder:
        for rank in [int(word) for word in sys.argv[1:]] or RANKS:
            adapter = command.extract(pair.BASE, pair.TUNED, Path(folder) / str(rank), rank)
            merged = strict.merge(strict.load_adapter(pair.load(pair.BASE), adapter))
            row(f"rank {rank}", f"{adapter.report['total']['energy']:.4f}", pair.nll(merged))
    row("tuned", "", pair.nll(pair.load(pair.TUNED)))


main()
