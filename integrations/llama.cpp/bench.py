"""Times one decode of sequences with adapters of their own against what the unchanged llama.cpp can do.

    MANY=DIR of bench-plain and bench-changed "$(tests/interop/setup.sh)" integrations/llama.cpp/bench.py
        [--json benches/results/llama-cpp.json] [--rounds 3] [--folder DIR]
        [--adapters 1,8] [--ranks 16,0] [--threads 1,2] [--tokens 0,16]

A Llama of random weights, 2048 wide, four layers, in Q8_0; f16 factors on all linear weights of its blocks. `none`: one
decode without adapters; `switching`: a decode per sequence, llama_set_adapters_lora before each; both by the unchanged
libllama. `routed`: one decode, llama_set_seq_adapter; `stacked`: the same by ggml_mul_mat_id. All modes measure in turns;
figures are medians over the rounds. Rank 0 stands for ranks 8, 16, 32 and 64 in turns.

Without --adapters, --ranks, --threads and --tokens MATRIX is measured, in less than ten minutes of an idle machine; with any
of them every combination. --json writes the rows for benches/compare/page.py.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/interop"))
MODES = {"none": "plain", "switching": "plain", "routed": "changed", "stacked": "changed"}
MIXED = (8, 16, 32, 64)
STEPS = 8
ALL, SOME, FEW = (1, 2, 4, 8, 16, 32, 64), (1, 8, 64), (1, 8)
# Rank, threads, tokens, counts of adapters.
MATRIX = [
    (16, 1, 0, ALL), (8, 1, 0, SOME), (64, 1, 0, SOME), (0, 1, 0, SOME), (16, 2, 0, SOME),
    (16, 1, 16, ALL), (8, 1, 16, FEW), (64, 1, 16, FEW), (0, 1, 16, FEW), (16, 2, 16, FEW),
]


def numbers(text):
    return [int(word) for word in text.split(",")]


def write_adapter(path, shapes, rank, seed):
    """Random factors for every weight in `shapes`, {name: [rows, columns]}."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for name, (rows, columns) in shapes.items():
        for half, shape in (("a", (rank, columns)), ("b", (rows, rank))):
            values = 0.02 * random.standard_normal(shape, dtype=np.float32)
            writer.add_tensor(f"{name}.lora_{half}", values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def adapter(folder, matrices, rank, at):
    path = folder / f"{rank}-{at}.gguf"
    return path if path.exists() else write_adapter(path, matrices, rank, at)


def base(folder):
    """The model, and what `shapes` says of it."""
    if (folder / "base.gguf").exists():
        return folder / "base.gguf", shapes(folder / "base.gguf")
    import llama
    import made
    import operator_table

    model = operator_table.model()
    made.as_gguf(model, folder / "f32.gguf")
    llama.quantize(folder / "f32.gguf", folder / "base.gguf", "q8_0")
    return folder / "base.gguf", shapes(folder / "base.gguf")


def shapes(model):
    """{name: [rows, columns]} of the matrices of its blocks."""
    tensors = gguf.GGUFReader(model).tensors
    return {t.name: [int(n) for n in reversed(t.shape)] for t in tensors if t.name.startswith("blk.") and len(t.shape) == 2}


class Process:
    """A bench program that waits for what to measure."""

    def __init__(self, which, model, threads, tokens, steps, adapters):
        import llama

        words = [Path(os.environ["MANY"]) / f"bench-{which}", llama.libraries(), model, threads, tokens, steps, *adapters]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*map(str, words)], stdin=pipe, stdout=pipe, text=True)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"bench-{which} ended")

    def measure(self, mode, count):
        print(mode, count, file=self.process.stdin, flush=True)
        return [float(word) for word in self.process.stdout.readline().split()]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def row(model, adapters, threads, prompt, rounds):
    """{mode: (CPU, wall) milliseconds}."""
    # Fewer decodes where there are more sequences, so that rounds stay short and modes alternate.
    steps = 0 if prompt else max(1, STEPS * 8 // max(8, len(adapters)))
    processes = {which: Process(which, model, threads, 16, steps, adapters) for which in ("plain", "changed")}
    found = {mode: [] for mode in MODES}
    for at in range(rounds + 1):
        for mode, which in MODES.items():
            figures = processes[which].measure(mode, len(adapters))
            if at > 0:  # the first round warms up
                found[mode].append(figures)
    for process in processes.values():
        process.end()
    return {mode: [statistics.median(part) for part in zip(*figures)] for mode, figures in found.items()}


def plan(wanted):
    """The parts to measure."""
    given = wanted.adapters, wanted.ranks, wanted.threads, wanted.tokens
    if not any(given):
        return MATRIX
    adapters, ranks, threads, tokens = (asked or default for asked, default in zip(given, ([8], [16], [1], [0])))
    return [(*part, adapters) for part in itertools.product(ranks, threads, tokens)]


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"processor": names[0] if names else "unknown", "cores": len(names)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=numbers)
    parser.add_argument("--ranks", type=numbers)
    parser.add_argument("--threads", type=numbers)
    parser.add_argument("--tokens", type=numbers, help="0: a token each; 16: a prompt of 16 tokens each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--folder", type=Path, help="where models and adapters are made, and stay")
    wanted = parser.parse_args()
    result = {"machine": machine(), "measured": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[0], "rounds": wanted.rounds, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = wanted.folder or Path(folder)
        folder.mkdir(exist_ok=True)
        model, matrices = base(folder)
        for rank, threads, tokens, counts in plan(wanted):
            files = [adapter(folder, matrices, rank or MIXED[at % len(MIXED)], at) for at in range(max(counts))]
            for count in counts:
                figures = row(model, files[:count], threads, tokens > 0, wanted.rounds)
                cpu, wall = ({mode: round(part[i], 2) for mode, part in figures.items()} for i in (0, 1))
                result["rows"].append({"rank": rank, "threads": threads, "tokens": tokens or 1, "adapters": count, "cpu": cpu, "wall": wall})
                print(json.dumps(result["rows"][-1]), flush=True)
            # Those of rank 64 take a gigabyte, and no other part has them.
            if not wanted.folder:
                for path in files:
                    path.unlink(missing_ok=True)
    result["seconds"] = round(time.monotonic() - STARTED)
    if wanted.json:
        wanted.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    STARTED = time.monotonic()
    main()
