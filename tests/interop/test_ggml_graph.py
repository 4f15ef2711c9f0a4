"""integrations/ggml: adapters as nodes of a graph of the real ggml, against sums in double, and what is refused."""

import os
import subprocess
from pathlib import Path

import gguf
import numpy as np
import pytest

import gguf_model
import llama
from command import ROOT

PROGRAM = ROOT / "integrations/ggml/test.c"
# As in test.c: [rows, columns], or [experts, rows, columns].
WEIGHTS = {
    "blk.0.attn_q.weight": (96, 64),
    "blk.0.attn_output.weight": (64, 96),
    "blk.0.ffn_up_exps.weight": (4, 32, 64),
    "blk.0.ffn_down_exps.weight": (4, 64, 32),
}
RANKS = (1, 4, 8, 17, 32)
# As many as a busy server has.
COUNT = 70


def write(path, names, rank, dtype, seed, alpha=0.0, shapes=WEIGHTS):
    """A GGUF adapter of random factors; q8_0 where the rows are whole blocks of it."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name in names:
        *stack, rows, columns = shapes[name]
        for half, shape in (("a", (*stack, rank, columns)), ("b", (*stack, rows, rank))):
            values = (0.2 * random.standard_normal(shape)).astype(np.float32)
            if dtype == "q8_0" and shape[-1] % 32 == 0:
                packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
                writer.add_tensor(f"{name}.lora_{half}", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            else:
                writer.add_tensor(f"{name}.lora_{half}", values if dtype == "f32" else values.astype(np.float16))
    gguf_model.close(writer)
    return path


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    phlora, library, source = Path(os.environ["PHLORA_LIB"]).parents[1], llama.libraries(), llama.source()
    out = tmp_path_factory.mktemp("graph") / "test"
    # The sources as they are installed.
    folder = phlora / "share/phlora/ggml"
    command = ["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", PROGRAM, *folder.glob("*.c"), f"-I{folder}", "-o", out]
    command += [f"-I{source / 'ggml/include'}", f"-I{phlora / 'include'}", f"-L{library}", f"-Wl,-rpath,{library}"]
    command += ["-lggml", "-lggml-base", f"-L{phlora / 'lib'}", f"-Wl,-rpath,{phlora / 'lib'}", "-lphlora", "-lm"]
    subprocess.run(command, check=True)

    def run(adapters, threads=1):
        done = subprocess.run([out, library, str(threads), *adapters], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch_of_many_adapters(program, tmp_path, threads):
    names = list(WEIGHTS)
    adapters = [write(tmp_path / "0.gguf", names, 4, "f32", 0, alpha=2.0)]
    for at in range(1, COUNT):
        some = [name for i, name in enumerate(names) if (at + i) % 3]
        adapters.append(write(tmp_path / f"{at}.gguf", some, RANKS[at % len(RANKS)], ("f32", "f16", "q8_0")[at % 3], at))
    code, said = program(adapters, threads)
    assert code == 0, said


def test_what_does_not_fit_is_refused(program, tmp_path):
    text = tmp_path / "text.gguf"
    text.write_text("no such thing")
    odd = {**WEIGHTS, "blk.0.attn_q.weight": (96, 32), "blk.0.ffn_up_exps.weight": (3, 32, 64), "blk.0.attn_k.weight": (96, 64)}
    for path, what in (
        (tmp_path / "none.gguf", "none.gguf"),
        (text, "text.gguf"),
        (write(tmp_path / "k.gguf", ["blk.0.attn_k.weight"], 4, "f32", 1, shapes=odd), "blk.0.attn_k.weight: the model has no such"),
        (write(tmp_path / "q.gguf", ["blk.0.attn_q.weight"], 4, "f32", 1, shapes=odd), "its factors are for 96 x 32"),
        (write(tmp_path / "up.gguf", ["blk.0.ffn_up_exps.weight"], 4, "f32", 1, shapes=odd), "(3 experts), the model's tensor is"),
    ):
        code, said = program([path])
        assert code == 1 and what in said, said
