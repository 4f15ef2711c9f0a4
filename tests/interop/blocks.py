"""Block formats of libphlora, through its C ABI."""

import ctypes
import functools
import os
from pathlib import Path

import numpy as np

from command import ROOT

# phlora_dtype of a block format is this and ggml's number.
GGML = 100


@functools.cache
def library():
    path = Path(os.environ.get("PHLORA_LIB", ROOT / "target/phlora/lib/libphlora.so"))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `bash ffi/install.sh target/phlora`, or set PHLORA_LIB")
    library = ctypes.CDLL(str(path))
    library.phlora_status_name.restype = ctypes.c_char_p
    library.phlora_block_len.restype = ctypes.c_size_t
    return library


def check(status):
    assert status == 0, library().phlora_status_name(status).decode()


def block_len(number):
    return library().phlora_block_len(GGML + number)


def block_bytes(number):
    size = ctypes.c_size_t()
    check(library().phlora_row_bytes(GGML + number, ctypes.c_size_t(block_len(number)), ctypes.byref(size)))
    return size.value


def decode(number, blocks):
    """Decodes uint8 blocks to float32, one row per block."""
    blocks = np.ascontiguousarray(blocks, np.uint8).reshape(-1, block_bytes(number))
    out = np.zeros((len(blocks), block_len(number)), np.float32)
    check(
        library().phlora_decode(
            ctypes.c_void_p(blocks.ctypes.data),
            ctypes.c_size_t(blocks.nbytes),
            GGML + number,
            ctypes.c_void_p(out.ctypes.data),
            ctypes.c_size_t(out.size),
        )
    )
    return out


def encode(number, values):
    """Encodes float32 values to uint8 blocks."""
    values = np.ascontiguousarray(values, np.float32)
    out = np.zeros(values.size // block_len(number) * block_bytes(number), np.uint8)
    check(
        library().phlora_encode(
            ctypes.c_void_p(values.ctypes.data),
            ctypes.c_size_t(values.size),
            GGML + number,
            ctypes.c_void_p(out.ctypes.data),
            ctypes.c_size_t(out.nbytes),
        )
    )
    return out
