"""Prints what budgets and formats do to the model, beside one rank for all at the same bytes: nll in nats per token.

    "$(tests/interop/setup.sh)" tests/interop/quality.py [FILE…]

The real PEFT merges each adapter in 16 bits, the real llama.cpp loads each GGUF adapter. Pairs: the real one, the real one with
its sides swapped, and with files of text as arguments a third one, as in criteria.py.
"""

import json
import sys
import tempfile
from pathlib import Path

import conftest  # noqa: F401  the settings: no hub, two threads
import command
import gguf_pair
import llama
import pair
import strict
import torch
from criteria import fine_tuned, ids
from safetensors.torch import save_file

RANKS = [4, 8, 16, 32]
FORMATS = ["f16", "q8_0", "q5_1", "q5_0", "q4_1", "iq4_nl", "q4_0"]


def extract(base, tuned, out, *options):
    """What was written, and its report."""
    report = out.with_suffix(".json")
    done = command.run("extract", base, tuned, "-o", out, "--report", report, "--quiet", "--force", *options)
    assert done.returncode == 0, f"phlora extract: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(report.read_text())


def in_peft(base, path, report, batches):
    merged = strict.merge(strict.load_adapter(pair.load(base), command.Adapter(path, report)))
    with torch.no_grad():
        return sum(merged(input_ids=batch, labels=batch).loss.item() for batch in batches) / len(batches)


def kept(report):
    """The kept share of the modules' energy, after rounding."""
    squares = [(m["energy"] - m["rounding_loss"]) * m["delta_norm"] ** 2 for m in report["modules"]]
    lost = [t["delta_norm"] ** 2 for t in report["left_out"] if t["reason"].startswith("budget")]
    return sum(squares) / (sum(m["delta_norm"] ** 2 for m in report["modules"]) + sum(lost))


def heading(title, sizes):
    print(f"\n| {title} | " + " | ".join(f"rank {rank}, {size // 1000} kB" for rank, size in zip(RANKS, sizes)) + " |")
    print("|---" * (1 + len(RANKS)) + "|", flush=True)


def row(name, cells):
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def peft_table(title, base, tuned, batches, folder):
    def run(name, *options):
        report = extract(base, tuned, folder / name, *options)
        return report["bytes_out"], kept(report), in_peft(base, folder / name, report, batches)

    even = [run(f"even-{rank}", "--rank", rank) for rank in RANKS]
    heading(title, [size for size, _, _ in even])
    cells = lambda runs: [f"{nll:.4f} ({energy:.3f})" for _, energy, nll in runs]  # noqa: E731
    row("one rank for all", cells(even))
    for name, options in [("`--by energy`", ["--by", "energy"]), ("`--budget`", [])]:
        runs = [run(f"budget-{size}", "--budget", size, *options) for size, _, _ in even]
        assert all(used <= size for (used, _, _), (size, _, _) in zip(runs, even))
        row(name, cells(runs))


def llama_tables(folder):
    models = gguf_pair.Pair(pair.BASE, pair.TUNED, folder)
    base = models.gguf("base")

    def run(name, *options):
        report = extract(pair.BASE, pair.TUNED, folder / f"{name}.gguf", *options)
        nll = llama.nll(base, gguf_pair.IDS, folder / f"{name}.gguf")
        return report["bytes_out"], kept(report), nll, report["dtype"]

    even = [run(f"even-{rank}", "--rank", rank) for rank in RANKS]
    heading("llama.cpp", [size for size, *_ in even])
    row("one rank for all, f16", [f"{nll:.4f}" for _, _, nll, _ in even])
    for name, options in [("`--budget --dtype f16`", ["--dtype", "f16"]), ("`--budget`", [])]:
        runs = [run(f"budget-{size}", "--budget", size, *options) for size, *_ in even]
        row(name, [f"{nll:.4f} {'' if options else dtype}".strip() for _, _, nll, dtype in runs])
    print("\n| rank 32 in | bytes | energy | nll |\n|---|---|---|---|")
    for dtype in FORMATS:
        size, energy, nll, _ = run(dtype, "--rank", 32, "--dtype", dtype)
        row(dtype, [f"{size // 1000} kB", f"{energy:.4f}", f"{nll:.4f}"])


def written(files, folder):
    """The base after fine-tuning on `files`, as a directory, and held-back batches."""
    weights, held = fine_tuned(files)
    folder.mkdir()
    (folder / "config.json").write_text((pair.BASE / "config.json").read_text())
    stored = {name: weights[name].float().contiguous() for name in pair.weights(pair.BASE)}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder, held


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        peft_table("PEFT, the real pair", pair.BASE, pair.TUNED, ids("eval-tuned.bin"), folder)
        peft_table("PEFT, swapped", pair.TUNED, pair.BASE, ids("eval-base.bin"), folder)
        if sys.argv[1:]:
            tuned, held = written(sys.argv[1:], folder / "here")
            peft_table("PEFT, fine-tuned here", pair.BASE, tuned, held, folder)
        llama_tables(folder)


if __name__ == "__main__":
    main()
