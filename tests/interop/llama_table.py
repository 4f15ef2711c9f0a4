"""Prints the part `deployed_q4_0` of benches/results/pair.json, a quantised base in llama.cpp: adapters for the base as it was, and for what is deployed.

    "$(tests/interop/setup.sh)" tests/interop/llama_table.py [KIND [RANK …]]
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import conftest  # noqa: F401  the settings: no hub, two threads
import gguf_pair
import llama
import pair

RANKS = [4, 16, 64]


def row(name, repair, nll):
    print(f"| {name} | {repair} | {nll:.4f} | {math.exp(nll):.2f} |", flush=True)


def main():
    kind, ranks = (sys.argv[1:2] or ["q4_0"])[0], [int(word) for word in sys.argv[2:]] or RANKS
    print("| model | repair's share of ‖Δ‖² | nll (nats per token) | perplexity |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        models = gguf_pair.Pair(pair.BASE, pair.TUNED, Path(folder))
        deployed = models.gguf("base", kind)
        row(f"base, {kind.upper()}", "", llama.nll(deployed, gguf_pair.IDS))
        for rank in ranks:
            plain = models.adapter(rank, "--dtype", "f16")
            row(f"rank {rank}", "", llama.nll(deployed, gguf_pair.IDS, plain))
            repairing = models.adapter(rank, "--dtype", "f16", "--deployed-base", deployed)
            total = json.loads(repairing.with_suffix(".json").read_text())["total"]
            share = total["repair_norm"] ** 2 / (total["repair_norm"] ** 2 + total["tuning_norm"] ** 2)
            row(f"rank {rank}, `--deployed-base`", f"{share:.3f}", llama.nll(deployed, gguf_pair.IDS, repairing))
        row("tuned, F32", "", llama.nll(models.gguf("tuned"), gguf_pair.IDS))


main()
