"""Where the real llama.cpp is: its libraries, and the same release's headers and converters."""

import functools
import os
import subprocess
from pathlib import Path


@functools.cache
def libraries():
    """The directory of libllama.so and libggml*.so; installed on first use unless PHLORA_LLAMA names it."""
    given = os.environ.get("PHLORA_LLAMA")
    if not given:
        setup = Path(__file__).with_name("llama_setup.sh")
        given = subprocess.run(["bash", setup], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    assert (Path(given) / "libllama.so").exists(), f"no llama.cpp in {given}"
    return Path(given)


def source():
    """The directory of include/, ggml/include/ and convert_lora_to_gguf.py."""
    return libraries().parent / "source"
