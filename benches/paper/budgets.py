"""A budget beside one rank for all at the same bytes, on every pair of the paper's table: loss and accuracy in the real PEFT, which
merges the adapters. Called by run.sh with --budgets.

It judges on more held-back examples than that table, none of which is in it, where they can be drawn: whether two adapters
differ shows on few examples only where they differ much. The standard error is that of the mean of the differences of single
examples (sequences, of the Llama).
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

import adapters
import audio
import classify
import encoder
import llama
import pictures
import texts
import torch
from adapters import ROOT
from pairs import pairs
from peft import PeftModel
from torch.nn import functional
from transformers.utils import logging

RANKS = [4, 8, 16, 32]
RULES = {"budget": [], "by energy": ["--by", "energy"]}
DRAWN, SEED = 3000, 77


def classified(inputs, labels):
    """judge(model) -> (losses, whether each is right)."""

    def judge(model):
        logits = classify.outputs(model.eval(), inputs)
        return functional.cross_entropy(logits, labels, reduction="none"), (logits.argmax(1) == labels).float()

    return judge


def read(task):
    """The held-back texts of a task, those of the table among them: there are no others."""
    _, found = task(most=100000)
    found = random.Random(SEED).sample(found, min(DRAWN, len(found)))
    return encoder.encoded(sorted(found, key=lambda example: len(example[0])))


def drawn(task):
    return getattr(pictures.Source(True, SEED), task)(DRAWN)


def predicted(ids):
    def judge(model):
        losses = []
        for batch in ids:
            with torch.no_grad():
                logits = model(input_ids=batch).logits[:, :-1]
            each = functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
            losses.append(each.mean(1))
        return torch.cat(losses), None

    return judge


def judges(folder):
    """{pair: what makes its judge}"""
    return {
        "text-languages": lambda: classified(*read(texts.languages)),
        "text-libraries": lambda: classified(*read(texts.libraries)),
        "image": lambda: classified(*drawn("turned")),
        "video": lambda: classified(*drawn("manoeuvres")),
        "audio": lambda: classified(*audio.chords(DRAWN, torch.Generator().manual_seed(SEED))),
        "llama": lambda: predicted(llama.ids(folder / "eval-tuned.bin")),
        "llama-swapped": lambda: predicted(llama.ids(folder / "eval-base.bin")),
    }


def written(pair, judge, *options):
    """(bytes, losses, whether each is right) of an adapter."""
    with tempfile.TemporaryDirectory() as folder:
        out, report = Path(folder) / "adapter", Path(folder) / "report.json"
        adapters.run("extract", pair.base, pair.tuned, "-o", out, "--report", report, "--quiet", *options, *pair.options)
        model, _ = pair.load(pair.base)
        return json.loads(report.read_text())["bytes_out"], *judge(PeftModel.from_pretrained(model, out).merge_and_unload())


def error(differences):
    return round(float(differences.std() / len(differences) ** 0.5), 5)


def beside(found, even):
    """The figures of an adapter less those of one rank for all."""
    (size, losses, right), (_, even_losses, even_right) = found, even
    row = {"bytes": size, "nll": round(float((losses - even_losses).mean()), 5), "nll_error": error(losses - even_losses)}
    if right is not None:
        row |= {"accuracy": round(float((right - even_right).mean()), 5), "accuracy_error": error(right - even_right)}
    return row


def figures(pair, judge):
    rows = []
    for rank in RANKS:
        even = written(pair, judge, "--rank", rank)
        size, losses, right = even
        row = {"rank": rank, "bytes": size, "nll": round(float(losses.mean()), 5)}
        row |= {} if right is None else {"accuracy": round(float(right.mean()), 5)}
        for rule, options in RULES.items():
            found = written(pair, judge, "--budget", size, *options)
            assert found[0] <= size, f"{pair.name}: {found[0]} bytes of {size}"
            row[rule] = beside(found, even)
        rows.append(row)
    return {"pair": pair.name, "examples": len(losses), "rows": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama", type=Path, default=ROOT / "tests/data/tiny-llama", help="folder of the Llama pair")
    parser.add_argument("--only", default="", help="names of pairs with commas between")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures; those of other pairs in it stay")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error(), logging.disable_progress_bar()
    known = pairs(options.llama) | {"llama-swapped": lambda: llama.llama(options.llama, swapped=True)}
    found = json.loads(options.json.read_text()) if options.json.is_file() else {}
    for name in [name for name in options.only.split(",") if name] or known:
        start = time.monotonic()
        found[name] = figures(known[name](), judges(options.llama)[name]())
        options.json.write_text(json.dumps(found, indent=1) + "\n")
        print(f"budgets.py: {name}: {time.monotonic() - start:.0f} s", file=sys.stderr)


main()
