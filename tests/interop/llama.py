"""The real llama.cpp: where it is, and what it makes of a model and its adapters (`llama_run.c`, run as a child)."""

import functools
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

FTYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "q4_k": 14, "bf16": 32}  # enum llama_ftype


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
    """The directory of include/, ggml/include/, common/, tools/export-lora and convert_lora_to_gguf.py."""
    return libraries().parent / "source"


@functools.cache
def _scratch():
    return tempfile.TemporaryDirectory(prefix="phlora-llama-")  # lives as long as the cache: until the end


def _build(name, command, libs):
    """A program linked with the libraries, in the scratch folder."""
    out, lib = Path(_scratch().name) / name, libraries()
    includes = [f"-I{source() / 'include'}", f"-I{source() / 'ggml/include'}"]
    links = [f"-L{lib}", f"-Wl,-rpath,{lib}", *libs, "-lllama", "-lggml", "-lggml-base"]
    subprocess.run([*command, "-O1", *includes, "-o", out, *links], check=True)
    return out


@functools.cache
def _program():
    code = Path(__file__).with_name("llama_run.c")
    return _build("llama_run", ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", code], [])


@functools.cache
def _exporter():
    """Its own export-lora, from the source as it is. The backend that it calls directly is the plainest one's."""
    code = [source() / "tools/export-lora/export-lora.cpp", f"-I{source() / 'common'}"]
    return _build("export-lora", ["c++", "-std=c++17", *code], ["-lllama-common", "-l:libggml-cpu-x64.so"])


class Failed(Exception):
    """How a run ended: `outcome` is "model refused", "adapter refused", "refused" or "crashed"; then what was said."""

    def __init__(self, outcome, said):
        super().__init__(f"{outcome}: {said}")
        self.outcome, self.said = outcome, said


def _run(*words):
    command = [_program(), libraries(), *map(str, words)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return
    assert done.returncode != 1, f"bad use of llama_run: {done.stderr}"
    refusals = {3: "model refused", 4: "adapter refused"}
    raise Failed("crashed" if done.returncode < 0 else refusals.get(done.returncode, "refused"), done.stderr.strip())


def logits(model, ids, *adapters):
    """Float32 [rows, length, vocabulary] for ids [rows, length], each row by itself. An adapter is a path, or
    (path, scale), or (path, scale, how): "path", "buffer" or "inside" (see llama_run.c)."""
    ids = np.ascontiguousarray(ids, dtype="<i4")
    words = []
    for adapter in adapters:
        given = adapter if isinstance(adapter, tuple) else (adapter,)
        path, scale, how = (*given, *(None, 1.0, "path")[len(given) :])
        words += [how, path, scale]
    _program()  # made before the threads that would each make it
    parts = np.array_split(ids, 2 if len(ids) >= 16 else 1)  # a processor for each: llama_run has one thread
    with ThreadPoolExecutor(len(parts)) as pool:
        return np.concatenate(list(pool.map(lambda part: _logits(model, part, words), parts)))


def _logits(model, ids, words):
    with tempfile.TemporaryDirectory(dir=_scratch().name) as folder:
        given, out = Path(folder) / "ids", Path(folder) / "logits"
        ids.tofile(given)
        _run("logits", model, given, ids.shape[1], out, *words)
        return np.fromfile(out, dtype="<f4").reshape(*ids.shape, -1)


def quantize(model, out, kind):
    """llama.cpp's own quantisation of every matrix; what does not fit the block size becomes something wider."""
    _run("quantize", model, out, FTYPES[kind])
    return out


def export(model, out, *adapters):
    """Its own merge of adapters, each (path, scale): F32 where the weight was F32, else F16."""
    words = [word for path, scale in adapters for word in ("--lora-scaled", f"{path}:{scale}")]
    command = [_exporter(), "-m", model, *words, "-o", out, "-t", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"export-lora: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return out


def nll(model, ids, *adapters):
    """Mean negative log-likelihood, nats per token, of each row's ids but the first, given those before."""
    rows = logits(model, ids, *adapters)[:, :-1].astype(np.float64)
    rows -= rows.max(-1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(-1, keepdims=True))
    return float(-np.take_along_axis(rows, np.asarray(ids)[:, 1:, None].astype(np.int64), -1).mean())
