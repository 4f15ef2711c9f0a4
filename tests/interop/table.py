"""Prints the part `models` of benches/results/pair.json: rank, bytes, kept energy, and loss of the merged model, on the real pair.

    "$(tests/interop/setup.sh)" tests/interop/table.py [RANK …]
"""

import json
import sys
import tempfile
from pathlib import Path

import conftest  # noqa: F401  the settings: no hub, two threads
import command
import pair
import strict

RANKS = [4, 8, 16, 32, 64, 128]


def main():
    models = [{"model": "base", "nll": pair.nll(pair.load(pair.BASE))}]
    with tempfile.TemporaryDirectory() as folder:
        for rank in [int(word) for word in sys.argv[1:]] or RANKS:
            adapter = command.extract(pair.BASE, pair.TUNED, Path(folder) / str(rank), rank)
            merged = strict.merge(strict.load_adapter(pair.load(pair.BASE), adapter))
            size, energy = adapter.report["bytes_out"], adapter.report["total"]["energy"]
            models.append({"model": f"rank {rank}", "rank": rank, "bytes": size, "energy": energy, "nll": pair.nll(merged)})
    models.append({"model": "tuned", "nll": pair.nll(pair.load(pair.TUNED))})
    print(json.dumps({"models": models}, indent=1))


main()
