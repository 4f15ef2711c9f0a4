"""Prints the part `llama_cpp` of benches/results/NAME.json: what adapters add per generated token, by llama.cpp's own path and by the operator.

    PHLORA=prefix of ffi/install.sh "$(tests/interop/setup.sh)" tests/interop/operator_table.py [ROUNDS]

A Llama of random weights, 2048 wide, four layers, in Q8_0; one thread. Each round runs every variant once; a variant's
figure is the least time of one token over all rounds.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import conftest  # noqa: F401  the settings: no hub, two threads
import gguf_pair
import llama
import made
from command import ROOT

REPEATS = 24


def model():
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=320, hidden_size=2048, intermediate_size=5632, num_hidden_layers=4, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=256, tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        pair = gguf_pair.save(model, folder)
        base = pair.gguf("base", "q8_0")
        adapters = {rank: pair.adapter(rank, "--dtype", "f16") for rank in (16, 64)}
        environment = {**os.environ, "LLAMA": str(llama.libraries()), "LLAMA_SOURCE": str(llama.source())}
        subprocess.run(["make", "-s", "-C", ROOT / "examples/llama.cpp", f"BUILD={folder}"], check=True, env=environment)
        np.arange(8, dtype="<i4").tofile(folder / "ids")
        bytewise = pair.adapter(64, "--dtype", "q8_0")
        sets = {"rank 16": [adapters[16]], "rank 64": [adapters[64]], "rank 64 in q8_0": [bytewise],
                "four of rank 16": [adapters[16]] * 4}

        def token(how, paths):
            words = [word for path in paths for word in (how, path, "0.1")]
            command = [folder / "evaluate", llama.libraries(), base, folder / "ids", folder / "out", "1", REPEATS, *words]
            done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
            return [float(word) for word in done.stdout.split()]

        def loading(read):
            """Least milliseconds of loading the tuned model, and of loading and checking an adapter of rank 16."""
            command = [folder / "evaluate", llama.libraries(), pair.gguf("tuned", "f16"), folder / "ids", folder / "out", "1", 1]
            words = [*map(str, command), "operator", adapters[16], "0.1"]
            how = {**os.environ, "EVALUATE_READS": "1"} if read else None
            runs = [subprocess.run(words, check=True, capture_output=True, text=True, env=how) for _ in range(3 * rounds)]
            return [min(float(run.stdout.split()[i]) for run in runs) for i in (0, 1)]

        (mapped, adapter), (read, _) = loading(False), loading(True)
        least = {}
        for _ in range(rounds):
            for name, how, paths in [("none", "own", [])] + [
                (name, how, paths) for name, paths in sets.items() for how in ("own", "operator")
            ]:
                least[name, how] = min(token(how, paths)[2], least.get((name, how), float("inf")))
        plain = least["none", "own"]
        added = [
            {"adapters": name, **{how: least[name, how] / plain - 1 for how in ("own", "operator")}} for name in sets
        ]
        load = {"adapter_ms": adapter, "model_read_ms": read, "model_mapped_ms": mapped}
        print(json.dumps({"llama_cpp": {"token_ms": plain, "adapters": added, "load": load}}, indent=1))


if __name__ == "__main__":
    main()
