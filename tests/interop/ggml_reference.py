"""Writes what the real libggml says of its block formats into the tree, for whoever has no libggml.

  ggml_reference.py grids    core/src/format/blocks/grids.bin, the vectors of the IQ formats, decoded from blocks that
                             name them one by one
  ggml_reference.py blocks   tests/data/ggml-blocks.bin, blocks of every format and their weights
"""

import sys
from pathlib import Path

import ggml
import numpy as np

ROOT = Path(__file__).parents[2]
ONE = np.frombuffer(np.float16(1).tobytes(), np.uint8)
# f16 that a scale may be: zeros, subnormals, the least and the largest normal one, infinities and NaN.
EDGES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00]


def vectors(number: int, count: int, length: int, low: int, high: int, smallest: float) -> np.ndarray:
    """The first `length` weights of blocks with scale 1 that name vector 0, 1, …: the index is the byte at `low`, and
    its upper bits that at `high`. `smallest` is what a 1 of the grid becomes."""
    blocks = np.zeros((count, ggml.traits(number).block_bytes), np.uint8)
    index = np.arange(count)
    blocks[:, 0:2] = ONE
    blocks[:, low] = index & 255
    if high:
        blocks[:, high] = index >> 8
    values = ggml.decode(number, blocks)[:, :length] / smallest
    assert np.all(values == np.rint(values)), number
    return values.astype(int)


def packed(digits: np.ndarray) -> bytes:
    bits = 16 // digits.shape[1]
    assert digits.min() >= 0 and digits.max() < 1 << bits
    return (digits << (bits * np.arange(digits.shape[1]))).sum(axis=1).astype("<u2").tobytes()


def ranks(values: np.ndarray, levels: list[int]) -> np.ndarray:
    """Each value's place among the levels."""
    digits = np.searchsorted(levels, values)
    assert np.array_equal(np.array(levels)[digits], values)
    return digits


def grids() -> bytes:
    types = ggml.quantized_types()
    eighths = [8, 25, 43]
    found = [
        ranks(vectors(types["IQ2_XXS"], 256, 8, 2, 0, 0.125), eighths),
        ranks(vectors(types["IQ2_XS"], 512, 8, 2, 3, 0.125), eighths),
        ranks(vectors(types["IQ2_S"], 1024, 8, 2, 66, 0.125), eighths),
        ranks(vectors(types["IQ3_XXS"], 256, 4, 2, 0, 0.25), [4, 12, 20, 28, 36, 44, 52, 62]),
        ranks(vectors(types["IQ3_S"], 512, 4, 2, 66, 1.0), [1, 3, 5, 7, 9, 11, 13, 15]),
        # Moved up by an eighth: 8·v + 1.
        ranks(vectors(types["IQ1_S"], 2048, 8, 2, 34, 0.125), [-7, 1, 9]),
    ]
    return b"".join(packed(digits) for digits in found)


def sample(number: int, random: np.random.Generator, count: int) -> np.ndarray:
    """Random blocks, after one of nothing but zeros, one of nothing but ones, and those whose scales are edges: an f16
    stands at the beginning or at the end of a block, and two of them follow one another."""
    size = ggml.traits(number).block_bytes
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    blocks[0], blocks[1] = 0, 255
    edges = np.array(EDGES, "<u2").view(np.uint8).reshape(-1, 2)
    for i, block in enumerate(blocks[2 : 2 + len(edges)]):
        for at, step in [(2, 1), (size - 4, 1), (0, 0), (size - 2, 0)]:
            block[at : at + 2] = edges[(i + step) % len(edges)]
    return blocks


def blocks() -> bytes:
    random = np.random.default_rng(5)
    out = b""
    for number in ggml.quantized_types().values():
        chosen = sample(number, random, len(EDGES) + 4)
        weights = ggml.decode(number, chosen)
        out += np.array([number, len(chosen)], "<u4").tobytes() + chosen.tobytes()
        out += weights.astype("<f4").tobytes()
    return out


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["grids"]:
            (ROOT / "core/src/format/blocks/grids.bin").write_bytes(grids())
        case ["blocks"]:
            (ROOT / "tests/data/ggml-blocks.bin").write_bytes(blocks())
        case _:
            sys.exit(__doc__)
