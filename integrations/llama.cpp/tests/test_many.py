"""Many adapters in one batch of the changed libllama: the bits of each alone, and libllama's own LoRA path."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gguf_model
import gguf_pair
import llama
import made

SCHEDULES = int(os.environ.get("SCHEDULES", "200"))


def check(model, adapters, bound, threads=1, schedules=0):
    """Runs check.c; an adapter is a path, or `OURS=OWN` where libllama's own path takes another file."""
    words = [Path(os.environ["MANY"]) / "check", llama.libraries(), model, threads, schedules, bound, *adapters]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=1200)
    print(done.stdout)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def adapters(real, tmp_path_factory):
    """Eight adapters of the real pair, of other ranks and formats."""
    folder = tmp_path_factory.mktemp("adapters")
    made_so = []
    for at, (rank, dtype) in enumerate([(4, "f32"), (8, "f16"), (16, "f16"), (17, "f32"), (32, "q8_0"), (64, "f16"), (1, "f32"), (16, "bf16")]):
        more = ("--include", "attn") if at == 3 else ()
        files = real.gguf("base"), real.gguf("tuned")
        made_so.append(gguf_pair.extract(*files, folder / f"{at}.gguf", rank, "--dtype", dtype, *more))
    return made_so


# Products of f32 factors differ by the order of their sums alone; llama.cpp rounds what others are multiplied with.
# Two threads wait for each other in loops, which takes long where processors are shared: fewer schedules there.
@pytest.mark.parametrize("threads, schedules", [(1, SCHEDULES), (2, 2)])
def test_f32_adapters_on_an_f32_base(real, adapters, threads, schedules):
    some = [adapters[0], adapters[3], adapters[6]]
    # Sequences that share adapters, then none that do: the same file may be opened again.
    for list_, count in ((some, 0), ((6 * some)[:16], schedules)):
        code, said = check(real.gguf("base"), list_, 2e-5, threads, count)
        assert code == 0, said


@pytest.mark.parametrize("kind, bound", [("f32", 1e-2), ("q8_0", 4e-2), ("q4_0", 6e-2)])
def test_adapters_of_every_format(real, adapters, kind, bound):
    code, said = check(real.gguf("base", kind), 2 * adapters, bound, 1, 20)
    assert code == 0, said


def test_peft_directories(real, tmp_path):
    """What a runtime opens as PEFT is what llama.cpp gets as GGUF."""
    base, tuned = real.hf["base"], real.hf["tuned"]
    peft = gguf_pair.extract(base, tuned, tmp_path / "peft", 8, "--dtype", "f32")
    converted = gguf_pair.convert(peft, tmp_path / "converted.gguf", "--base", base)
    code, said = check(real.gguf("base"), [f"{peft}={converted}"], 2e-5)
    assert code == 0, said


def test_the_example(real, adapters, tmp_path):
    """In one batch each adapter answers as it does alone."""
    base = gguf_model.write(tmp_path / "base.gguf", gguf_model.read(real.gguf("base")), real.config, vocabulary=True)

    def answers(*some):
        words = [Path(os.environ["MANY"]) / "example", base, "def main():", *some]
        # It looks for ggml's backends where it runs.
        return subprocess.run([*map(str, words)], cwd=llama.libraries(), stdout=subprocess.PIPE, timeout=120, check=True).stdout

    some = [adapters[at] for at in (0, 1, 5)]
    alone = [answers(one) for one in some]
    assert answers(*some) == b"".join(alone)
    said = {answer.removeprefix(f"{one}: ".encode()) for one, answer in zip(some, alone)}
    assert answers().startswith(b"no adapter: ") and len(said) > 1, "adapters change answers"


def test_experts(tmp_path):
    base = made.experts()
    sides = {"base": base, "tuned": made.tuned_experts(base)}
    files = {side: gguf_model.write(tmp_path / f"{side}.gguf", tensors, made.EXPERTS) for side, tensors in sides.items()}
    some = [gguf_pair.extract(files["base"], files["tuned"], tmp_path / f"{rank}.gguf", rank, "--dtype", "f32") for rank in (4, 8)]
    code, said = check(files["base"], 8 * some, 2e-5, 1, 20)
    assert code == 0, said


def test_a_scale_comes_before_what_adapters_add(real, adapters, tmp_path):
    tensors = gguf_model.read(real.gguf("base"))
    for layer in range(4):
        tensors[f"blk.{layer}.attn_q.scale"] = np.full(1, 0.5)
        tensors[f"blk.{layer}.attn_q.weight"] = 2 * tensors[f"blk.{layer}.attn_q.weight"]
    scaled = gguf_model.write(tmp_path / "scaled.gguf", tensors, real.config)
    code, said = check(scaled, [adapters[0], adapters[3]], 2e-5)
    assert code == 0, said
    tensors["blk.2.ffn_up.scale"] = np.ones(1)
    scaled = gguf_model.write(tmp_path / "feed-forward.gguf", tensors, real.config)
    code, said = check(scaled, [adapters[0]], 2e-5)
    assert code == 1 and "blk.2.ffn_up.weight: the model multiplies this weight's product" in said, said


def test_the_wrong_model_is_refused(wide, adapters):
    code, said = check(wide.gguf("base"), [adapters[0]], 2e-5)
    assert code == 1 and any(words in said for words in ("its factors are for", "factors give", "has no tensor")), said
