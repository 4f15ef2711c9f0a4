"""Writers of GGUF and safetensors that check nothing, so that any field may be wrong."""

import json
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def text(value):
    """A GGUF string."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name, kind, value):
    """A key and its encoded value."""
    return text(name) + struct.pack("<I", kind) + value


def u32(number):
    return struct.pack("<I", number)


def u64(number):
    return struct.pack("<Q", number)


def f32(number):
    return struct.pack("<f", number)


def info(name, sizes, ggml_type=0, offset=0, axes=None):
    """An entry of the table of tensors; sizes as ggml counts them, the fastest first."""
    axes = len(sizes) if axes is None else axes
    sizes = b"".join(u64(size & (2**64 - 1)) for size in sizes)
    return text(name) + u32(axes) + sizes + u32(ggml_type) + u64(offset & (2**64 - 1))


def gguf(keys=(), infos=(), data=b"", version=3, counts=None, alignment=32):
    """A file; `counts` are the numbers of tensors and keys that it claims."""
    tensors, pairs = counts or (len(infos), len(keys))
    head = b"GGUF" + u32(version) + u64(tensors) + u64(pairs) + b"".join(keys) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data


def model_keys(architecture="llama"):
    return [key("general.architecture", STRING, text(architecture))]


def adapter_keys(alpha=16.0, architecture="llama"):
    return model_keys(architecture) + [
        key("general.type", STRING, text("adapter")),
        key("adapter.type", STRING, text("lora")),
        key("adapter.lora.alpha", F32, f32(alpha)),
    ]


def adapter(pairs, **fields):
    """A GGUF adapter in f32: `pairs` are (module, sizes of A, sizes of B)."""
    infos, data = [], b""
    for module, *sides in pairs:
        for suffix, sizes in zip("ab", sides):
            infos.append(info(f"{module}.weight.lora_{suffix}", sizes, offset=len(data)))
            count = 1
            for size in sizes:
                count *= size
            data += f32(0.5) * count
            data += bytes(-len(data) % 32)
    return gguf(adapter_keys(**fields), infos, data)


def safetensors(header, data=b"", length=None):
    """A file with this header, a text or a value; `length` is what it claims."""
    raw = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return u64(len(raw) if length is None else length) + raw + data


def tensor(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def peft_config(**fields):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    return json.dumps(config | fields).encode()


def peft_weights(modules=("model.layers.0.self_attn.q_proj",), rank=2, size=4):
    header, at = {}, 0
    for module in modules:
        for side, shape in (("A", [rank, size]), ("B", [size, rank])):
            end = at + 4 * rank * size
            header[f"base_model.model.{module}.lora_{side}.weight"] = tensor(shape, at, end)
            at = end
    return safetensors(header, f32(0.5) * (at // 4))
