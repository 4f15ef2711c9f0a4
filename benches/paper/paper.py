"""The paper's table at a small scale: base, tuned, and adapters re-merged and routed, for text, image, video, audio.

Called by run.sh, which says what it needs. Pairs are made one after another and kept; the table is printed.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

import judge
import latency
import table
import torch
from adapters import ROOT
from pairs import pairs
from transformers.utils import logging as transformers_logging


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama", type=Path, default=ROOT / "tests/data/tiny-llama", help="folder of the Llama pair")
    parser.add_argument("--only", default="", help="names of pairs or latency, with commas between")
    parser.add_argument("--json", type=Path, help="file for all figures; figures of other pairs in it stay")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.disable_progress_bar()
    known = pairs(options.llama)
    names = [name for name in options.only.split(",") if name] or [*known, "latency"]
    figures = json.loads(options.json.read_text()) if options.json and options.json.is_file() else {}

    def keep(name, found):
        figures[name] = found
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n")

    for name in names:
        start = time.monotonic()
        print(f"paper.py: {name}", file=sys.stderr)
        if name == "latency":
            keep(name, latency.figures())
        else:
            judge.facts(known[name](), lambda found: keep(name, found))
        print(f"paper.py: {name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    for name in known:
        if name in figures:
            print(table.markdown(figures[name]))
    if "latency" in figures:
        print(table.latency(figures["latency"]))


main()
