"""Merged GGUF models against llama.cpp's own merge: its tools/export-lora, built from the source as it is.

Both make the sum in f32 and round it once, phlora to the format that the weight had, export-lora to F16 or F32. So the
two may be apart by these roundings and by those within the two sums, and by no more."""

import gguf
import numpy as np
import pytest

import gguf_model
import llama
import made
import malformed
from test_merge import merge

F32 = ("--dtype", "f32")
F16 = ("--dtype", "f16")
BF16 = ("--dtype", "bf16")
WITH_HEAD = ("--include", "embed_tokens", "--include", "lm_head", "--include", "_proj")

# Each adapter: its rank, its options, the scale it is merged with.
ADAPTERS = {
    "f32": [(16, F32, 1.0)],
    "f16": [(16, F16, 0.5)],
    "three": [(16, F32, 0.75), (8, F16, -0.5), (3, BF16, 2.0)],
    "embedding and head": [(8, (*F16, *WITH_HEAD), 1.0)],
}

PRECISION = {"F32": 24, "F16": 11, "BF16": 8}
LEAST_EXPONENT = {"F32": -125, "F16": -13, "BF16": -125}
# The largest integer of a block, and how far rounding moves a value, in steps: half a step, and what the rounding of the
# scale to f16 adds. Q4_0 has one step less on one side of zero, so that the last value there moves by a whole one.
BLOCKS = {"Q8_0": (127, 0.563), "Q4_0": (8, 1.005)}

# Where both round to the same format, only what lies next to the midpoint of two values comes out apart: single sums, and
# whole blocks by their scale. The share of all values.
FEW = 2e-3


def rounding(values, kind):
    """What rounding to a format moved these values by, at most."""
    if kind in BLOCKS:
        largest, steps = BLOCKS[kind]
        blocks = np.abs(values).reshape(*values.shape[:-1], -1, 32).max(-1)
        return np.repeat(steps * blocks / largest, 32, -1)
    exponents = np.maximum(np.frexp(values)[1], LEAST_EXPONENT[kind])
    return np.ldexp(1.0, exponents - 1 - PRECISION[kind])


def kinds(path):
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def targets(adapter):
    return {name.removesuffix(".lora_a") for name in kinds(adapter) if name.endswith(".lora_a")}


def sums(base, adapters):
    """{weight: how far two f32 sums of W + Σ s·B·A, in any order, may be apart}, of every weight that is merged."""
    sizes, roundings = {}, {}
    for path, scale in adapters:
        factors, alpha = gguf_model.read(path), gguf_model.fields(path).get("adapter.lora.alpha", 0.0)
        for name in targets(path):
            a, b = (np.abs(factors[f"{name}.lora_{half}"]).astype(np.float64) for half in "ab")
            rank = b.shape[-1]
            product = a @ b.T if name == "token_embd.weight" else b @ a
            size = abs(scale) * (alpha / rank if alpha else 1.0) * product
            sizes[name] = sizes.get(name, np.abs(base[name]).astype(np.float64)) + size
            roundings[name] = roundings.get(name, 0) + rank + 3
    return {name: 2 * roundings[name] * 2.0**-24 * size for name, size in sizes.items()}


def merged(base, adapters, out):
    scales = [word for _, scale in adapters for word in ("--scale", scale)]
    return merge(base, out, *(path for path, _ in adapters), *scales)


def assert_same_weights(base, ours, theirs, adapters):
    """All merged weights are the same, but for the roundings; the base's are not."""
    before, found, expected = map(gguf_model.read, (base, ours, theirs))
    our_kinds, their_kinds = kinds(ours), kinds(theirs)
    different, total = 0, 0
    for name, apart in sums(before, adapters).items():
        was, is_, wanted = (tensors[name].astype(np.float64) for tensors in (before, found, expected))
        bound = apart + rounding(is_, our_kinds[name]) + rounding(wanted, their_kinds[name])
        wrong = np.argwhere(~(np.abs(is_ - wanted) <= bound))
        assert not len(wrong), (name, wrong[0], is_[*wrong[0]], wanted[*wrong[0]], bound[*wrong[0]])
        assert (np.abs(was - wanted) > bound).any(), f"{name}: the adapter changes nothing"
        if our_kinds[name] == their_kinds[name] != "F32":
            different, total = different + np.sum(is_ != wanted), total + wanted.size
    assert different <= FEW * total


def assert_the_rest_stays(base, ours, theirs, names):
    """Every byte in ours, every other tensor and key in theirs, which calls its file F16 whatever it holds."""
    readers = [gguf.GGUFReader(path) for path in (base, ours, theirs)]
    files = [np.fromfile(path, np.uint8) for path in (base, ours)]
    assert len(files[0]) == len(files[1])
    for reader, data in zip(readers, files):
        for tensor in reader.tensors:
            if tensor.name in names:
                data[tensor.data_offset : tensor.data_offset + tensor.n_bytes] = 0
    assert np.array_equal(*files)

    before, after = ({tensor.name: tensor for tensor in readers[at].tensors} for at in (0, 2))
    assert before.keys() == after.keys() and names < before.keys()
    for name in before.keys() - names:
        assert before[name].tensor_type == after[name].tensor_type, name
        assert np.array_equal(before[name].data, after[name].data), name
    assert gguf_model.fields(theirs) == gguf_model.fields(base) | {"general.file_type": 1}


@pytest.mark.parametrize("which", ADAPTERS)
@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0"])
def test_a_merge_is_the_exporters(real, kind, which, tmp_path):
    base = real.gguf("base", kind)
    adapters = [(real.adapter(rank, *options), scale) for rank, options, scale in ADAPTERS[which]]
    ours = merged(base, adapters, tmp_path / "ours.gguf")
    theirs = llama.export(base, tmp_path / "theirs.gguf", *adapters)
    names = targets(adapters[0][0])
    assert len(names) == (30 if which == "embedding and head" else 28)
    assert {kinds(ours)[name] for name in names} == {kind.upper()}
    assert {kinds(theirs)[name] for name in names} == {"F32" if kind == "f32" else "F16"}
    assert_same_weights(base, ours, theirs, adapters)
    assert_the_rest_stays(base, ours, theirs, names)


@pytest.mark.parametrize("kind", ["bf16", "q8_0", "q4_0"])
def test_a_merge_is_what_quantising_the_exporters_gives(real, kind, tmp_path):
    """The base decoded to f32, merged by export-lora, and rounded by llama.cpp to the format it had."""
    base = real.gguf("base", kind)
    adapters = [(real.adapter(rank, *options), scale) for rank, options, scale in ADAPTERS["three"]]
    decoded = gguf_model.write(tmp_path / "decoded.gguf", gguf_model.read(base), real.config)
    exported = llama.export(decoded, tmp_path / "exported.gguf", *adapters)
    theirs = llama.quantize(exported, tmp_path / "theirs.gguf", kind)
    ours = merged(base, adapters, tmp_path / "ours.gguf")
    assert kinds(ours) == kinds(theirs)
    assert_same_weights(base, ours, theirs, adapters)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_stacks_of_experts_and_alpha(dtype, tmp_path):
    """Two adapters that are not phlora's, with factors for each expert and scales of alpha/rank."""
    tensors = made.experts()
    base = gguf_model.write(tmp_path / "base.gguf", tensors, made.EXPERTS, dtype)
    shapes = {name: tensor.shape for name, tensor in tensors.items() if name.startswith("blk.") and tensor.ndim > 1}
    adapters = []
    for alpha, scale in ((12.0, 1.0), (3.0, -0.5)):
        parts = malformed.Parts(shapes, seed=int(alpha))
        parts.metadata.append(lambda writer: writer.add_float32("adapter.lora.alpha", alpha))
        parts.write(tmp_path / f"{alpha}.gguf")
        adapters.append((tmp_path / f"{alpha}.gguf", scale))
    ours = merged(base, adapters, tmp_path / "ours.gguf")
    theirs = llama.export(base, tmp_path / "theirs.gguf", *adapters)
    assert_same_weights(base, ours, theirs, adapters)
    assert_the_rest_stays(base, ours, theirs, shapes.keys())
