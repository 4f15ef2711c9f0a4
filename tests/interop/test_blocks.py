"""ggml's block formats: phlora decodes and encodes them to the bits of the real libggml."""

import numpy as np
import pytest

import blocks
import ggml
import ggml_reference

TYPES = ggml.quantized_types()


def bits(values):
    """Bits, but all NaN alike."""
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))


def test_there_are_types():
    assert {"Q4_0", "Q4_K", "Q8_0", "IQ4_XS", "IQ1_S", "MXFP4", "TQ1_0"} <= TYPES.keys()


@pytest.mark.parametrize("name", TYPES)
def test_decodes_like_to_float(name):
    number = TYPES[name]
    assert blocks.block_len(number) == ggml.traits(number).block_len
    assert blocks.block_bytes(number) == ggml.traits(number).block_bytes
    random = np.random.default_rng(number)
    sample = ggml_reference.sample(number, random, 4000)
    expected, found = ggml.decode(number, sample), blocks.decode(number, sample)
    wrong = np.argwhere(bits(expected) != bits(found))
    assert not len(wrong), (name, wrong[0], expected[*wrong[0]], found[*wrong[0]])


@pytest.mark.parametrize("name", TYPES)
def test_decodes_every_byte_everywhere_like_to_float(name):
    """Each byte of a block takes every value, the others zero or one: all table entries, all digits."""
    number = TYPES[name]
    size = ggml.traits(number).block_bytes
    for others in (0x00, 0x3C):
        sample = np.full((size, 256, size), others, np.uint8)
        for at in range(size):
            sample[at, :, at] = np.arange(256)
        sample = sample.reshape(-1, size)
        assert np.array_equal(bits(ggml.decode(number, sample)), bits(blocks.decode(number, sample)))


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL"])
def test_encodes_like_from_float_ref(name):
    number = TYPES[name]
    random = np.random.default_rng(number)
    values = random.standard_normal((6000, 32)).astype(np.float32)
    # From scales that underflow f16, or whose inverse overflows, to such that overflow f16.
    values *= np.float32(10) ** random.integers(-42, 7, (6000, 1)).astype(np.float32)
    values[:100] = 0
    values[100:200] = np.rint(values[100:200])
    # Ties: of two values of the largest magnitude, and of those halfway between two steps.
    values[200:300] = random.integers(-127, 128, (100, 32)) / 2
    values[300:400] = np.where(random.integers(0, 2, (100, 32)), 1, -1)
    values[400:500, 0] = -0.0
    values[500:600, 1:] = 0
    assert np.isfinite(values).all()
    expected, found = ggml.encode(number, values), blocks.encode(number, values)
    size = ggml.traits(number).block_bytes
    wrong = (expected != found).reshape(-1, size).any(axis=1)
    if name == "IQ4_NL":
        # Of a block that ggml takes for zeros it leaves the integers of the one before.
        zeros = np.abs(values).max(axis=1) < 1e-15
        assert zeros.any() and not ggml.decode(number, found)[zeros].any()
        wrong &= ~zeros
    wrong = np.flatnonzero(wrong)
    assert not len(wrong), (name, len(wrong), values[wrong[0]])
