#!/usr/bin/env python3
"""Writes a pair of models with experts: random weights in bf16, the tuned ones with three more directions and noise.

    generate.py DIRECTORY [--layers 2] [--hidden 256] [--experts 8] [--inner 192]

DIRECTORY gets `base` and `tuned`, each with a config.json and a model.safetensors. The same arguments give the same bytes.
"""

import argparse
import array
import json
import pathlib
import random
import struct
import sys


def shapes(layers, hidden, experts, inner, vocab=64):
    """{name: shape} of a Mixtral of these sizes."""
    all = {"model.embed_tokens.weight": (vocab, hidden), "lm_head.weight": (vocab, hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, rows in [("q", hidden), ("k", hidden // 4), ("v", hidden // 4), ("o", hidden)]:
            all[f"{prefix}self_attn.{name}_proj.weight"] = (rows, hidden)
        all[f"{prefix}block_sparse_moe.gate.weight"] = (experts, hidden)
        for expert in range(experts):
            for name, shape in [("w1", (inner, hidden)), ("w2", (hidden, inner)), ("w3", (inner, hidden))]:
                all[f"{prefix}block_sparse_moe.experts.{expert}.{name}.weight"] = shape
        for norm in ("input_layernorm", "post_attention_layernorm"):
            all[f"{prefix}{norm}.weight"] = (hidden,)
    return all


def bf16(values):
    """The upper halves of the floats, rounded towards zero."""
    floats = array.array("f", values)
    if sys.byteorder == "big":
        floats.byteswap()
    raw = floats.tobytes()
    out = bytearray(len(raw) // 2)
    out[0::2], out[1::2] = raw[2::4], raw[3::4]
    return bytes(out)


def pair(shape, seed):
    """Bytes of the tensor in the base and in the tuned model."""
    draw = random.Random(seed)
    noise = [draw.gauss(0, 1) for _ in range(4099)]

    def row(length):
        start = draw.randrange(4099)
        return [noise[(start + 7 * i) % 4099] for i in range(length)]

    rows, cols = shape if len(shape) == 2 else (1, *shape)
    rank = 3 if len(shape) == 2 else 1
    left, right = [row(rows) for _ in range(rank)], [row(cols) for _ in range(rank)]
    base, tuned = bytearray(), bytearray()
    for i in range(rows):
        weights, difference = [0.05 * x for x in row(cols)], [0.002 * x for x in row(cols)]
        for number in range(rank):
            scale = 0.01 / (number + 1) * left[number][i]
            difference = [d + scale * x for d, x in zip(difference, right[number])]
        base += bf16(weights)
        tuned += bf16([w + d for w, d in zip(weights, difference)])
    return bytes(base), bytes(tuned)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    for name, size in [("layers", 2), ("hidden", 256), ("experts", 8), ("inner", 192)]:
        parser.add_argument(f"--{name}", type=int, default=size)
    args = parser.parse_args()
    all = shapes(args.layers, args.hidden, args.experts, args.inner)
    header, at = {}, 0
    for name, shape in all.items():
        size = 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    config = {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "hidden_size": args.hidden,
        "intermediate_size": args.inner,
        "num_hidden_layers": args.layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "num_local_experts": args.experts,
        "tie_word_embeddings": False,
        "vocab_size": 64,
    }
    files = []
    for side in ("base", "tuned"):
        directory = args.directory / side
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config))
        files.append(open(directory / "model.safetensors", "wb"))
    for file in files:
        file.write(struct.pack("<Q", len(text)) + text)
    for number, shape in enumerate(all.values()):
        for file, data in zip(files, pair(shape, number)):
            file.write(data)
    for file in files:
        file.close()
    print(f"{len(all)} tensors, {at // 2} weights")


main()
