#!/usr/bin/env python3
"""Writes the first inputs of the targets that read files: `seeds.py [DIRECTORY]`, by default the committed `seeds/`.

They are the small ones of tests/hostile, and small sound files. The first byte says how the rest is taken, see `src/`.
"""

import hashlib
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "hostile"))

import corpus as hostile  # noqa: E402
from containers import peft_config, peft_weights, safetensors, tensor  # noqa: E402

# Longer ones slow every run that begins with them.
MOST = 1500
SEPARATOR = b"\x1e"

REPORT = HERE / "report.json"


def models():
    for name, data in hostile.gguf_models():
        yield "model_gguf", b"\0" + data
    one = safetensors({"model.layers.0.self_attn.q_proj.weight": tensor([2, 2], 0, 16)}, bytes(16))
    config = b'{"model_type":"llama","num_attention_heads":4,"num_key_value_heads":2}'
    yield "model_safetensors", b"\1" + config + SEPARATOR + one
    for name, data in hostile.headers():
        yield "model_safetensors", b"\0" + data


def adapters():
    for name, data in hostile.gguf_adapters():
        yield "adapter_gguf", b"\0" + data
    for name, files in hostile.peft_adapters():
        yield "adapter_peft", b"\0" + files["adapter_config.json"] + SEPARATOR + files["adapter_model.safetensors"]
    weights = peft_weights(["model.layers.0.self_attn.q_proj"], size=32)
    for what in (0, 4, 6, 8, 12, 14):
        yield "adapter_peft", bytes([what]) + peft_config() + SEPARATOR + weights


def main():
    to = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "seeds"
    count = 0
    numbers = [bytes(range(from_, from_ + 96)) for from_ in range(0, 160, 16)]
    built = ["model_safetensors", "model_gguf", "adapter_peft", "adapter_gguf", "adapter_single", "adapter_compact"]
    # An odd first byte: built of numbers.
    rest = [(target, bytes([3 + 4 * i]) + bits[1:]) for target in built for i, bits in enumerate(numbers)]
    rest += [(target, bits) for target in ("extractor", "apply", "merge", "combine", "blocks", "calls") for bits in numbers]
    rest += [("report", REPORT.read_bytes()), *(("report", data) for _, data in hostile.reports())]
    for target, data in [*models(), *adapters(), *rest]:
        if len(data) > (4 * MOST if target == "report" else MOST):
            continue
        directory = to / target
        directory.mkdir(parents=True, exist_ok=True)
        (directory / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
        count += 1
    print(f"{count} seeds in {to}")


main()
