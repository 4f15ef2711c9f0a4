"""examples/llama.cpp: phlora as a custom operator in the real llama.cpp's graph, against llama.cpp's own LoRA path."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gguf_model
import gguf_pair
import llama
from command import ROOT
from gguf_pair import apart

LENGTH = 64


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory):
    """Function (model, adapters, threads) -> logits: the example, built with the command of its README."""
    phlora = Path(os.environ["PHLORA_LIB"]).parents[1]
    build = tmp_path_factory.mktemp("operator")
    environment = {**os.environ, "LLAMA": str(llama.libraries()), "LLAMA_SOURCE": str(llama.source()), "PHLORA": str(phlora)}
    made = ["make", "-C", ROOT / "examples/llama.cpp", f"BUILD={build}"]
    subprocess.run(made, check=True, env=environment, stdout=subprocess.PIPE)

    def run(model, adapters, threads=1, ids=gguf_pair.FEW[0][:LENGTH]):
        np.ascontiguousarray(ids, dtype="<i4").tofile(build / "ids")
        words = [str(word) for adapter in adapters for word in adapter]
        command = [build / "evaluate", llama.libraries(), model, build / "ids", build / "out", str(threads), "0", *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            return done.returncode, done.stderr
        return np.fromfile(build / "out", dtype="<f4").reshape(len(ids), -1)

    return run


@pytest.fixture(scope="session")
def pieces(real, tmp_path_factory):
    """The base, and adapters of it in several formats and ranks."""
    folder = tmp_path_factory.mktemp("pieces")
    adapters = {}
    for rank, dtype in ((4, "f32"), (16, "f16"), (17, "bf16"), (32, "q8_0")):
        out = folder / f"{rank}-{dtype}.gguf"
        adapters[rank] = gguf_pair.extract(real.gguf("base", "f32"), real.gguf("tuned", "f32"), out, rank, "--dtype", dtype)
    return real.gguf("base", "f32"), adapters


@pytest.mark.parametrize("rank", [4, 16, 17, 32])
@pytest.mark.parametrize("threads", [1, 2])
def test_logits_are_those_of_its_own_path(evaluate, pieces, rank, threads):
    base, adapters = pieces
    own = evaluate(base, [("own", adapters[rank], 0.7)], threads)
    ours = evaluate(base, [("operator", adapters[rank], 0.7)], threads)
    assert apart(evaluate(base, [], threads), own) > 0.1, "the adapter does something"
    # Products of f32 factors differ by the order of their sums alone; others meet activations that llama.cpp rounds.
    assert apart(ours, own) <= {4: 1e-5, 16: 3e-3, 17: 3e-2, 32: 3e-2}[rank]


def test_several_adapters_and_their_scales(evaluate, pieces):
    base, adapters = pieces
    both = [(adapters[4], 0.5), (adapters[16], -0.25)]
    own = evaluate(base, [("own", *one) for one in both])
    ours = evaluate(base, [("operator", *one) for one in both])
    assert apart(ours, own) <= 3e-3
    # Off is off, to the bit.
    off = evaluate(base, [("operator", adapters[4], 0)])
    assert np.array_equal(off, evaluate(base, []))


def test_quantised_bases(evaluate, real, pieces):
    base = real.gguf("base", "q8_0")
    adapter = pieces[1][4]
    own, ours = evaluate(base, [("own", adapter, 1)]), evaluate(base, [("operator", adapter, 1)])
    # llama.cpp rounds the activations to 8 bits before such a product: where the order of two f32 sums decides about a
    # step, it is 1/254 of the largest of its block. Whether that happens depends on the machine.
    assert apart(ours, own) <= 2e-2 < 0.1 * apart(evaluate(base, []), own)


def test_what_does_not_fit_is_refused(evaluate, pieces, wide, tmp_path):
    base, adapters = pieces
    text, cut = tmp_path / "text.gguf", tmp_path / "cut.gguf"
    text.write_text("no such thing")
    cut.write_bytes(adapters[4].read_bytes()[:-4000])
    for path, what in (
        (tmp_path / "none.gguf", "cannot be mapped"),
        (text, "no GGUF file"),
        (cut, "the file ends within its factors"),
        (base, "no adapter that can be used"),
    ):
        code, said = evaluate(base, [("operator", path, 1)])
        assert code == 2 and what in said, said
    code, said = evaluate(wide.gguf("base", "f32"), [("operator", adapters[4], 1)])
    assert code == 2 and ("its shape is not that" in said or "the model lacks it" in said), said


def test_a_second_model_in_the_process_is_refused(evaluate, pieces, wide, real, monkeypatch):
    base, adapters = pieces
    for second, what in ((wide.gguf("base", "f32"), "its shape is not that"), (real.gguf("base", "f16"), "a second model has")):
        monkeypatch.setenv("EVALUATE_SECOND", str(second))
        code, said = evaluate(base, [("operator", adapters[4], 1)], ids=np.arange(16))
        assert code < 0 and what in said, (code, said)
        # Without adapters a second model is nobody's business.
        assert not isinstance(evaluate(base, [], ids=np.arange(16)), tuple)


def test_a_model_that_scales_products_is_refused(evaluate, pieces, real, tmp_path):
    base, adapters = pieces
    tensors = gguf_model.read(base)
    tensors["blk.1.attn_q.scale"] = np.ones(1)
    scaled = gguf_model.write(tmp_path / "scaled.gguf", tensors, real.config)
    code, said = evaluate(scaled, [("operator", adapters[4], 1)])
    assert code == 2 and "blk.1.attn_q.weight: the model scales its product" in said, said
