"""Times one decode of sequences with adapters of their own against what the unchanged llama.cpp can do.

    MANY=DIR of bench-plain and bench-changed "$(tests/interop/setup.sh)" integrations/llama.cpp/bench.py
        [--adapters 1,2,4,8,16,32,64] [--ranks 8,16,64] [--threads 1,2] [--tokens 0,16] [--rounds 5] [--folder DIR]

A Llama of random weights, 2048 wide, four layers, in Q8_0; f16 factors on all linear weights of its blocks. `none`: one
decode without adapters; `switching`: a decode per sequence, llama_set_adapters_lora before each; both by the unchanged
libllama. `routed`: one decode, llama_set_seq_adapter; `stacked`: the same by ggml_mul_mat_id. All modes measure in turns;
figures are medians over the rounds. Rank 0 stands for ranks 8, 16, 32 and 64 in turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/interop"))
MODES = {"none": "plain", "switching": "plain", "routed": "changed", "stacked": "changed"}
MIXED = (8, 16, 32, 64)
STEPS = 8


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--adapters", type=numbers, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--ranks", type=numbers, default=[8, 16, 64])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--tokens", type=numbers, default=[0, 16], help="0: a token each; 16: a prompt of 16 tokens each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where models and adapters are made, and stay")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = wanted.folder or Path(folder)
        folder.mkdir(exist_ok=True)
        model, matrices = base(folder)
        print("| rank | threads | tokens | adapters | none | routed | stacked | switching | routed adds | switching / routed | wall: none, routed, stacked, switching |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for rank in wanted.ranks:
            files = [
                adapter(folder, matrices, rank or MIXED[at % len(MIXED)], at)
                for at in range(max(wanted.adapters))
            ]
            for threads in wanted.threads:
                for tokens in wanted.tokens:
                    for count in wanted.adapters:
                        figures = row(model, files[:count], threads, tokens > 0, wanted.rounds)
                        cpu, wall = ({mode: part[i] for mode, part in figures.items()} for i in (0, 1))
                        words = [rank or "mixed", threads, tokens or 1, count]
                        words += [f"{cpu[mode]:.1f}" for mode in ("none", "routed", "stacked", "switching")]
                        words += [f"{cpu['routed'] / cpu['none'] - 1:.1%}", f"{cpu['switching'] / cpu['routed']:.2f}"]
                        words += [", ".join(f"{wall[mode]:.1f}" for mode in ("none", "routed", "stacked", "switching"))]
                        print("|", " | ".join(map(str, words)), "|", flush=True)


if __name__ == "__main__":
    main()
