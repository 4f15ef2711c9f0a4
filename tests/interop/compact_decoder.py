"""Reference decoder of phlora's compact form, docs/compact-form.md: the file's modules as (A, B, scale), W += scale·B·A."""

import json

import numpy as np


def half(bits):
    return np.frombuffer(bits, "<f2").astype(np.float32)


def brain(bits):
    return (np.frombuffer(bits, "<u2").astype(np.uint32) << 16).view(np.float32)


def rows(codes, bits, scales, count, levels):
    """A row per direction, of `count` entries each, and the bytes that they take."""
    found, at = [], 0
    for width, scale in zip(bits.tolist(), scales):
        size = (count * width + 7) // 8
        row = np.unpackbits(np.frombuffer(codes[at : at + size], np.uint8), bitorder="little")
        code = row[: count * width].reshape(count, width) @ (1 << np.arange(width))
        table = (np.sqrt(scale) * levels[(1 << width) - 2 :][: 1 << width]).astype(np.float16)
        found.append(table[code])
        at += size
    return np.stack(found), at


def module(data, levels):
    """A [rank, in] and B [out, rank] of the bytes of a tensor."""
    out, columns, rank = np.frombuffer(data[:12], "<u4").tolist()
    scales, bits = brain(data[12 : 12 + 2 * rank]), np.frombuffer(data[12 + 2 * rank : 12 + 3 * rank], np.uint8)
    codes = data[12 + 3 * rank :]
    a, used = rows(codes, bits, scales, columns, levels)
    b, _ = rows(codes[used:], bits, scales, out, levels)
    return a, b.T


def read(path):
    """{path of a module: (A, B, scale)}, factors in float16."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    metadata = header.pop("__metadata__")
    assert metadata["phlora.compact"] == "1", "another version of the compact form"
    about = json.loads(metadata.get("phlora.adapter", "{}"))
    data = {name: content[start:][slice(*tensor["data_offsets"])] for name, tensor in header.items()}
    levels = half(data.pop("phlora.levels"))
    unusual = about.get("modules", {})
    return {
        name: (*module(part, levels), unusual.get(name, {}).get("scale", 1.0))
        for name, part in data.items()
        if name not in about.get("full", {})
    }
