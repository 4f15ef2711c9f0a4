"""Makes the part `quality` of benches/results/pair.json: what budgets and formats do to the model, at the same bytes.

    "$(tests/interop/setup.sh)" tests/interop/quality.py RESULTS.json [PART…]

Parts: the real pair (`real`), the same with its sides swapped (`swapped`), both as GGUF adapters (`real llama.cpp`, `swapped llama.cpp`),
and rank 32 in every format of GGUF (`rank 32`); without a word all of them. Each is written as soon as it is there; other figures of the file stay. The real PEFT merges each adapter in 16 bits,
those in the compact form after `phlora convert`; the real llama.cpp loads each GGUF adapter. Energies are those after rounding, of all 28 modules; nll in nats per token.
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
from criteria import ids

RANKS = [4, 8, 16, 32]
FORMATS = ["f16", "q8_0", "q5_1", "q5_0", "q4_1", "iq4_nl", "q4_0"]


def extract(base, tuned, out, *options):
    """The report of what was written."""
    report = out.with_suffix(".json")
    done = command.run("extract", base, tuned, "-o", out, "--report", report, "--quiet", "--force", *options)
    assert done.returncode == 0, f"phlora extract: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(report.read_text())


def figures(report, nll):
    """A row: bytes, the kept share of the modules' energy after rounding, nll, format."""
    squares = [(m["energy"] - m["rounding_loss"]) * m["delta_norm"] ** 2 for m in report["modules"]]
    lost = [t["delta_norm"] ** 2 for t in report["left_out"] if t["reason"].startswith("budget")]
    energy = sum(squares) / (sum(m["delta_norm"] ** 2 for m in report["modules"]) + sum(lost))
    return {"bytes": report["bytes_out"], "energy": round(energy, 4), "nll": round(nll, 4), "dtype": report["dtype"]}


def in_peft(base, path, report, batches):
    merged = strict.merge(strict.load_adapter(pair.load(base), command.Adapter(path, report)))
    with torch.no_grad():
        return sum(merged(input_ids=batch, labels=batch).loss.item() for batch in batches) / len(batches)


def peft(base, tuned, batches, folder):
    """{rule: a row for each size}"""

    def run(*options):
        report = extract(base, tuned, folder / "adapter", *options)
        return figures(report, in_peft(base, folder / "adapter", report, batches))

    def compact(size):
        report = extract(base, tuned, folder / "adapter.phlora", "--budget", size)
        done = command.run("convert", folder / "adapter.phlora", "-o", folder / "adapter", "--force")
        assert done.returncode == 0, done.stderr
        return figures(report, in_peft(base, folder / "adapter", report, batches))

    even = [run("--rank", rank) for rank in RANKS]
    sizes = [row["bytes"] for row in even]
    rows = {
        "uniform": even,
        "by energy": [run("--budget", size, "--by", "energy") for size in sizes],
        "budget": [run("--budget", size) for size in sizes],
        "compact": [compact(size) for size in sizes],
    }
    assert all(row["bytes"] <= size for found in rows.values() for row, size in zip(found, sizes))
    return rows


PAIRS = {
    "real": (pair.BASE, pair.TUNED, "eval-tuned.bin"),
    "swapped": (pair.TUNED, pair.BASE, "eval-base.bin"),
}


def in_llama_cpp(name, folder):
    """A function from options to a row."""
    base, tuned, tokens = PAIRS[name]
    model, batches = gguf_pair.Pair(base, tuned, folder).gguf("base"), ids(tokens)

    def run(*options):
        report = extract(base, tuned, folder / "adapter.gguf", *options)
        return figures(report, llama.nll(model, batches.view(-1, batches.shape[-1]).numpy(), folder / "adapter.gguf"))

    return run


def gguf(run):
    """{rule: a row for each size}"""
    even = [run("--rank", rank, "--dtype", "f16") for rank in RANKS]
    sizes = [row["bytes"] for row in even]
    rows = {
        "uniform": even,
        "budget f16": [run("--budget", size, "--dtype", "f16") for size in sizes],
        "budget": [run("--budget", size) for size in sizes],
    }
    assert all(row["bytes"] <= size for found in rows.values() for row, size in zip(found, sizes))
    return rows


def main():
    known = [*PAIRS, *(f"{name} llama.cpp" for name in PAIRS), "rank 32"]
    results, parts = Path(sys.argv[1]), sys.argv[2:] or known

    def keep(part, found):
        figures = json.loads(results.read_text()) if results.exists() else {}
        figures["quality"] = {"ranks": RANKS} | figures.get("quality", {}) | {part: found}
        results.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")

    for part in parts:
        if part not in known:
            raise SystemExit(f"there is no part {part!r}, but {', '.join(known)}")
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            if part in PAIRS:
                base, tuned, tokens = PAIRS[part]
                keep(part, peft(base, tuned, ids(tokens), folder))
            elif part == "rank 32":
                run = in_llama_cpp("real", folder)
                keep(part, [run("--rank", 32, "--dtype", dtype) for dtype in FORMATS])
            else:
                keep(part, gguf(in_llama_cpp(part.split()[0], folder)))


if __name__ == "__main__":
    main()
