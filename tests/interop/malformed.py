"""Adapters that are wrong, each in one way, and what the real llama.cpp makes of them.

Everything is made with the PyPI package `gguf`, or by changing bytes of what it made; nothing here is phlora's."""

import dataclasses
import struct
from collections.abc import Callable

import gguf
import numpy as np

import gguf_model

RANK = 8
Q8_0 = gguf.GGMLQuantizationType.Q8_0


class Parts:
    """What goes into a file: a case changes it before it is written, or the bytes after."""

    def __init__(self, shapes, seed=5):
        """Factors of rank 8 for the matrices given, {base tensor: (out, in) or (experts, out, in)}."""
        random = np.random.default_rng(seed)
        self.type, self.architecture, self.kind = "adapter", "llama", "lora"
        self.metadata = []  # functions of the writer
        self.tensors, self.raw_dtypes = {}, {}
        for name, (*experts, rows, columns) in shapes.items():
            self.tensors[f"{name}.lora_a"] = 0.05 * random.standard_normal((*experts, RANK, columns)).astype("f4")
            self.tensors[f"{name}.lora_b"] = 0.5 * random.standard_normal((*experts, rows, RANK)).astype("f4")

    def write(self, path):
        writer = gguf.GGUFWriter(path, self.architecture)
        for key, value in (("general.type", self.type), ("adapter.type", self.kind)):
            if value is not None:
                writer.add_string(key, value)
        for add in self.metadata:
            add(writer)
        for name, tensor in self.tensors.items():
            writer.add_tensor(name, tensor, raw_dtype=self.raw_dtypes.get(name))
        gguf_model.close(writer)

    def quantize(self, name):
        """Q8_0, with as many values per row as blocks hold: a row below 32 takes its values from the next ones."""
        self.tensors[name] = gguf.quants.quantize(self.tensors[name], Q8_0)
        self.raw_dtypes[name] = Q8_0


@dataclasses.dataclass
class Case:
    name: str
    outcome: str  # "adapter refused", "crashed", "no effect", "not a number", or "effect" where it works after all
    finding: str | None = None  # severity and code of what `phlora check` finds; None where all is well
    said: str = ""  # part of what llama.cpp says
    base: str = "llama"  # or "tied" (Qwen2, tied embeddings) or "experts" (four experts of a stack each)
    change: Callable = lambda parts: None
    patch: Callable = lambda data: data


def _rename(old, new):
    def change(parts):
        parts.tensors = {name.replace(old, new): tensor for name, tensor in parts.tensors.items()}

    return change


def _drop(name):
    return lambda parts: parts.tensors.pop(name)


def _add(name, *shape, dtype="f4"):
    return lambda parts: parts.tensors.update({name: np.full(shape, 0.25, dtype)})


def _set(**attributes):
    return lambda parts: [setattr(parts, key, value) for key, value in attributes.items()]


def _metadata(add):
    return lambda parts: parts.metadata.append(add)


def _pair(name, a, b, only=True):
    def change(parts):
        if only:
            parts.tensors.clear()
        parts.tensors[f"{name}.lora_a"] = np.full(a, 0.25, "f4")
        parts.tensors[f"{name}.lora_b"] = np.full(b, 0.25, "f4")

    return change


def _each(names, function):
    def change(parts):
        for name in names:
            parts.tensors[name] = function(parts.tensors[name])

    return change


def _value(value):
    def change(parts):
        parts.tensors[f"{UP}.lora_b"][3, 2] = value

    return change


UP = "blk.0.ffn_up.weight"
EXPERTS = "blk.0.ffn_up_exps.weight"
LONG = "blk.0." + "x" * 51 + ".weight"  # 64 bytes without the ending


def _shrink_experts(count):
    return _each([f"{EXPERTS}.lora_a", f"{EXPERTS}.lora_b"], lambda t: np.ascontiguousarray(t[:count]))


def _rank_20_in_blocks(parts):
    """lora_b's rows of 20 values as a whole number of blocks all together: what a careless writer makes."""
    parts.tensors[f"{UP}.lora_a"] = np.full((20, 192), 0.05, "f4")
    blocks = gguf.quants.quantize(np.full((512 * 20 // 32, 32), 0.5, "f4"), Q8_0)
    parts.tensors[f"{UP}.lora_b"] = blocks
    parts.raw_dtypes[f"{UP}.lora_b"] = Q8_0


def _reshape_info(name, *shape):
    """Another shape in the tensor's entry, the bytes staying: numpy's packages write whole blocks only."""

    def patch(data):
        at = data.index(name.encode()) + len(name)
        (dimensions,) = struct.unpack_from("<I", data, at)
        assert dimensions == len(shape)
        return data[: at + 4] + struct.pack(f"<{dimensions}Q", *reversed(shape)) + data[at + 4 + 8 * dimensions :]

    return patch


def _offset(name, change):
    """Another offset in the tensor's entry."""

    def patch(data):
        at = data.index(name.encode()) + len(name)
        (dimensions,) = struct.unpack_from("<I", data, at)
        at += 4 + 8 * dimensions + 4
        (offset,) = struct.unpack_from("<Q", data, at)
        return data[:at] + struct.pack("<Q", offset + change) + data[at + 8 :]

    return patch


def _kind(name, number):
    """Another type in the tensor's entry."""

    def patch(data):
        at = data.index(name.encode()) + len(name)
        (dimensions,) = struct.unpack_from("<I", data, at)
        at += 4 + 8 * dimensions
        return data[:at] + struct.pack("<I", number) + data[at + 4 :]

    return patch


CASES = [
    Case("nothing wrong", "effect"),
    Case("nothing wrong, experts", "effect", base="experts"),
    Case("nothing wrong, tied", "effect", base="tied"),
    # the whole file
    Case("wrong architecture", "adapter refused", "error wrong-architecture", "arch mismatch", change=_set(architecture="qwen2")),
    Case("unknown architecture", "adapter refused", "error wrong-architecture", "arch mismatch", change=_set(architecture="nonsense")),
    Case("general.type model", "adapter refused", "error not-an-adapter", "expect general.type", change=_set(type="model")),
    Case("general.type missing", "adapter refused", "error not-an-adapter", "expect general.type", change=_set(type=None)),
    Case("adapter.type missing", "adapter refused", "error adapter-type", "expect adapter.type", change=_set(kind=None)),
    Case("adapter.type dora", "adapter refused", "error adapter-type", "expect adapter.type", change=_set(kind="dora")),
    Case("alpha u32", "crashed", "error alpha-type", "type_to_gguf_type", change=_metadata(lambda w: w.add_uint32("adapter.lora.alpha", 8))),
    Case("alpha f64", "crashed", "error alpha-type", "type_to_gguf_type", change=_metadata(lambda w: w.add_float64("adapter.lora.alpha", 8.0))),
    Case("alpha string", "crashed", "error alpha-type", "type_to_gguf_type", change=_metadata(lambda w: w.add_string("adapter.lora.alpha", "8"))),
    Case("alpha NaN", "not a number", "error alpha-not-finite", change=_metadata(lambda w: w.add_float32("adapter.lora.alpha", float("nan")))),
    Case("alpha f32", "effect", change=_metadata(lambda w: w.add_float32("adapter.lora.alpha", 8.0))),
    Case("alora i32", "adapter refused", "error alora-type", "invalid gguf element type", change=_metadata(lambda w: w.add_array("adapter.alora.invocation_tokens", [-1, 2]))),
    Case("empty adapter", "no effect", "warning empty", change=lambda parts: parts.tensors.clear()),
    Case("version 1", "adapter refused", "error gguf-version", "GGUFv1", patch=lambda d: d[:4] + struct.pack("<I", 1) + d[8:]),
    Case("version 2", "effect", patch=lambda d: d[:4] + struct.pack("<I", 2) + d[8:]),
    Case("version 4", "adapter refused", "error gguf-version", "version 4", patch=lambda d: d[:4] + struct.pack("<I", 4) + d[8:]),
    Case("magic", "adapter refused", "error gguf-invalid", "invalid magic", patch=lambda d: b"GGML" + d[4:]),
    Case("cut off in the data", "adapter refused", "error bad-offset", "not within the file bounds", patch=lambda d: d[: len(d) * 3 // 4]),
    Case("cut off in the header", "adapter refused", "error gguf-invalid", "failed to read", patch=lambda d: d[:100]),
    Case("alignment 64", "effect", change=_metadata(lambda w: w.add_custom_alignment(64))),
    # names
    Case("lora_a without lora_b", "adapter refused", "error missing-pair", "missing one component", change=_drop(f"{UP}.lora_b")),
    Case("lora_b without lora_a", "adapter refused", "error missing-pair", "missing one component", change=_drop(f"{UP}.lora_a")),
    Case("unknown base tensor", "adapter refused", "error unknown-tensor", "does not exist in base model", change=_rename("blk.0.ffn_up", "blk.9.ffn_up")),
    Case("PEFT's names", "adapter refused", "error unknown-tensor", "does not exist in base model", change=_rename(UP, "model.layers.0.mlp.up_proj.weight")),
    Case("bad suffix", "adapter refused", "error bad-suffix", "unexpected suffix", change=_add(f"{UP}.lora_c", 8, 192)),
    Case("a whole weight", "adapter refused", "error bad-suffix", "unexpected suffix", change=_add(UP, 512, 192)),
    Case("a bias", "adapter refused", "error bad-suffix", "unexpected suffix", change=_add("blk.0.attn_q.bias", 192)),
    Case("norm tensor", "no effect", "warning norm-ignored", change=lambda p: (p.tensors.clear(), _add("blk.0.attn_norm.weight", 192)(p))),
    Case("norm tensor besides", "effect", "warning norm-ignored", change=_add("blk.0.attn_norm.weight", 192)),
    Case("pair on a norm", "no effect", "warning no-effect", change=_pair("blk.0.attn_norm.weight", (8, 192), (1, 8))),
    Case("name of 64 bytes", "adapter refused", "error name-too-long", "too long", change=_add(LONG[:57] + ".lora_a", 8, 192)),
    Case("name of 80 bytes", "adapter refused", "error name-too-long", "too long", change=_add("x" * 73 + ".lora_a", 8, 192)),
    Case("same name twice", "adapter refused", "error duplicate-name", "duplicate", change=_add("blk.0.ffn_uq.weight.lora_a", 8, 192), patch=lambda d: d.replace(b"ffn_uq", b"ffn_up")),
    # shapes
    Case("wrong in", "adapter refused", "error wrong-shape", "incorrect shape", change=_pair(UP, (8, 160), (512, 8))),
    Case("wrong out", "adapter refused", "error wrong-shape", "incorrect shape", change=_pair(UP, (8, 192), (500, 8))),
    Case("ranks differ", "adapter refused", "error rank-mismatch", "not transposed", change=_pair(UP, (8, 192), (512, 4))),
    Case("a not transposed", "adapter refused", "error wrong-shape", "incorrect shape", change=_pair(UP, (192, 8), (512, 8))),
    Case("1-D", "effect", change=_pair(UP, (192,), (512, 1))),
    Case("3-D on a matrix", "crashed", "error expert-count", "ggml_can_mul_mat", change=_pair(UP, (2, 8, 192), (2, 512, 8))),
    Case("3-D b on a matrix", "crashed", "error expert-count", "ggml_can_mul_mat", change=_pair(UP, (8, 192), (2, 512, 8))),
    Case("rank 0", "adapter refused", "error bad-tensor", "failed to allocate buffer", change=_pair(UP, (0, 192), (512, 0))),
    Case("rank above both", "effect", "note rank-too-large", change=_pair(UP, (600, 192), (512, 600))),
    Case("tied token_embd", "crashed", "error tied-embedding", "ggml_can_mul_mat", base="tied", change=_pair("token_embd.weight", (100, 8), (64, 8))),
    Case("untied token_embd", "effect", change=_pair("token_embd.weight", (259, 8), (192, 8))),
    Case("token_embd not flipped", "adapter refused", "error wrong-shape", "incorrect shape", change=_pair("token_embd.weight", (8, 192), (259, 8))),
    Case("untied output", "effect", change=_pair("output.weight", (8, 192), (259, 8))),
    Case("tied output", "adapter refused", "error tied-output", "does not exist in base model", base="tied", change=_pair("output.weight", (8, 64), (100, 8))),
    Case("fewer experts", "crashed", "error expert-count", base="experts", change=_shrink_experts(2)),
    Case("more experts", "effect", "warning more-experts", base="experts", change=_each([f"{EXPERTS}.lora_a", f"{EXPERTS}.lora_b"], lambda t: np.concatenate([t, t]))),
    Case("one expert's matrices", "crashed", "error expert-count", base="experts", change=_each([f"{EXPERTS}.lora_a", f"{EXPERTS}.lora_b"], lambda t: np.ascontiguousarray(t[0]))),
    Case("experts differ", "crashed", "error expert-count", base="experts", change=_each([f"{EXPERTS}.lora_a"], lambda t: np.ascontiguousarray(t[:2]))),
    Case("experts differ in b", "crashed", "error expert-count", base="experts", change=_each([f"{EXPERTS}.lora_b"], lambda t: np.ascontiguousarray(t[:2]))),
    Case("pair on a bias", "no effect", "warning no-effect", base="tied", change=_pair("blk.0.attn_q.bias", (8, 64), (1, 8))),
    # values
    Case("NaN", "not a number", "error not-finite", change=_value(np.nan)),
    Case("Inf", "not a number", "error not-finite", change=_value(np.inf)),
    Case("all zeros", "no effect", "warning no-effect", change=lambda p: [t.fill(0) for t in p.tensors.values()]),
    Case("f16", "effect", change=lambda p: p.tensors.update({n: t.astype("f2") for n, t in p.tensors.items()})),
    Case("f64", "crashed", "error bad-type", change=lambda p: p.tensors.update({n: t.astype("f8") for n, t in p.tensors.items()})),
    Case("f64 a", "crashed", "error bad-type", change=_each([f"{UP}.lora_a"], lambda t: t.astype("f8"))),
    Case("f64 b", "crashed", "error bad-type", change=_each([f"{UP}.lora_b"], lambda t: t.astype("f8"))),
    Case("i32", "crashed", "error bad-type", change=_each([f"{UP}.lora_a"], lambda t: t.astype("i4"))),
    Case("q8_0 a", "effect", change=lambda p: p.quantize(f"{UP}.lora_a")),
    Case("q8_0 b of rank 20", "adapter refused", "error rank-not-in-blocks", "not a multiple of block size", change=_rank_20_in_blocks, patch=_reshape_info(f"{UP}.lora_b", 512, 20)),
    Case("unknown type", "adapter refused", "error bad-type", "invalid ggml type", patch=_kind(f"{UP}.lora_a", 99)),
    Case("removed type", "adapter refused", "error bad-type", "block size (0)", patch=_kind(f"{UP}.lora_a", 4)),
    # places
    Case("offset off by 32", "adapter refused", "error bad-offset", "has offset", patch=_offset(f"{UP}.lora_b", 32)),
    Case("offset not aligned", "adapter refused", "error bad-offset", "has offset", patch=_offset(f"{UP}.lora_b", 4)),
    Case("offset of another", "adapter refused", "error bad-offset", "has offset", patch=_offset(f"{UP}.lora_b", -32)),
    Case("offset far away", "adapter refused", "error bad-offset", "has offset", patch=_offset(f"{UP}.lora_b", 1 << 40)),
]
