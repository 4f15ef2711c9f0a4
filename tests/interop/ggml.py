"""The quantisation of the real libggml, through ctypes."""

import ctypes
import functools
import re

import numpy as np

import llama


class Traits(ctypes.Structure):
    """ggml_type_traits."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("block_len", ctypes.c_int64),
        ("interleave", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


@functools.cache
def library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(llama.libraries() / "libggml-base.so"))
    library.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    return library


@functools.cache
def type_count() -> int:
    """GGML_TYPE_COUNT of the release."""
    header = (llama.source() / "ggml/include/ggml.h").read_text()
    return int(re.search(r"GGML_TYPE_COUNT\s*=\s*(\d+)", header)[1])


def traits(number: int) -> Traits:
    return library().ggml_get_type_traits(number).contents


def quantized_types() -> dict[str, int]:
    """Every type that has blocks and can be decoded, by ggml's name in capitals."""
    found = {}
    for number in range(type_count()):
        of = traits(number)
        if of.is_quantized and of.to_float:
            found[of.name.decode().upper()] = number
    return found


def decode(number: int, blocks: np.ndarray) -> np.ndarray:
    """Decodes uint8 blocks to float32, one row per block."""
    of = traits(number)
    blocks = np.ascontiguousarray(blocks, np.uint8).reshape(-1, of.block_bytes)
    out = np.zeros((len(blocks), of.block_len), np.float32)
    of.to_float(blocks.ctypes.data, out.ctypes.data, out.size)
    return out


def encode(number: int, values: np.ndarray) -> np.ndarray:
    """Encodes float32 values by ggml's reference rounding."""
    of = traits(number)
    values = np.ascontiguousarray(values, np.float32)
    out = np.zeros(values.size // of.block_len * of.block_bytes, np.uint8)
    of.from_float_ref(values.ctypes.data, out.ctypes.data, values.size)
    return out
