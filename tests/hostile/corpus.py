"""Files for every published class of defects in loaders of GGUF, safetensors and LoRA adapters, and for those that were
found in phlora. Each is named after where the class was published.

`corpus()` yields (name, kind, {path: bytes}, path to give): kind is "model", "adapter" or "report". Their loaders were
read past the buffer, wrote past it, divided by zero, ran out of memory or took minutes; here each must end in an error, or in
success where the file is sound, within the bounds of `run.py`.
"""

import json
import pathlib
import sys

from containers import (
    ARRAY, BOOL, F32, I8, I32, STRING, U8, U32, U64, adapter, adapter_keys, f32, gguf, info, key, model_keys, peft_config,
    peft_weights, safetensors, tensor, text, u32, u64,
)

Q = "blk.0.attn_q"
MAX64 = 2**64 - 1


def gguf_models():
    one = info("token_embd.weight", [4, 4])
    data = f32(0.5) * 16
    keys = model_keys()
    yield "sound", gguf(keys, [one], data)
    yield "cve-2024-21802 more axes than four", gguf(keys, [info("a.weight", [4] * 100)], data)
    yield "cve-2024-21802 axes claimed, none there", gguf(keys, [info("a.weight", [], axes=2**31)], data)
    yield "cve-2024-23496 string as long as the address range", gguf([u64(MAX64) + b"general"], [], b"", counts=(0, 1))
    yield "cve-2024-23496 value as long as the address range", gguf([text("a") + u32(STRING) + u64(MAX64 - 1)])
    yield "cve-2024-25664 count of keys", gguf(keys, [one], data, counts=(1, MAX64))
    yield "cve-2024-25664 count of keys times their size wraps", gguf(keys, [one], data, counts=(1, 2**64 // 48 + 1))
    yield "cve-2024-25665 string that ends beyond the file", gguf([key("a", STRING, u64(1 << 40) + b"x")])
    yield "cve-2024-25666 count of tensors", gguf(keys, [one], data, counts=(MAX64, 1))
    yield "cve-2024-25666 count of tensors times their size wraps", gguf(keys, [one], data, counts=(2**64 // 88 + 1, 1))
    yield "cve-2024-25667 array longer than the file", gguf([key("a", ARRAY, u32(U64) + u64(2**61 + 1))])
    yield "cve-2024-25668 array of strings longer than the file", gguf([key("a", ARRAY, u32(STRING) + u64(MAX64 // 16) + text("x"))])
    yield "array of arrays, nested", gguf([key("a", ARRAY, (u32(ARRAY) + u64(1)) * 100_000 + u32(U8) + u64(0))])
    tokens = b"".join(text("t" * (1 << 16)) for _ in range(16))
    yield "cve-2025-49847 token that is long", gguf(keys + [key("tokenizer.ggml.tokens", ARRAY, u32(STRING) + u64(16) + tokens)], [one], data)
    wrap = [info("a.weight", [2**62, 1, 1, 1], ggml_type=24), info("b.weight", [2**62], ggml_type=24, offset=2**62)]
    yield "cve-2025-53630 sizes that wrap when added", gguf(keys, wrap * 1, data)
    yield "cve-2026-27940 sizes near the end of the range", gguf(keys, [info("a.weight", [MAX64 // 4 - 7])], data)
    yield "cve-2026-7482 tensor beyond the end of the file", gguf(keys, [info("a.weight", [1 << 20])], data)
    yield "cve-2026-7482 offset beyond the end of the file", gguf(keys, [info("a.weight", [4], offset=1 << 40)], data)
    yield "llama.cpp 18674 axis that wraps with its stride", gguf(keys, [info("a.weight", [1152, 2**42 + 1], ggml_type=8)], data)
    yield "llama.cpp 19856 string above all limits", gguf([key("a", STRING, u64(2**30) + b"x" * 64)])
    many = key("tokenizer.ggml.tokens", ARRAY, u32(STRING) + u64(200_000) + text("ab") * 200_000)
    yield "llama.cpp 19919 array of many strings", gguf(keys + [many], [one], data)
    yield "llama.cpp 24759 size that wraps when padded", gguf(keys, [info("a.weight", [MAX64 // 4])], data)
    yield "llama.cpp 24884 empty key", gguf([key("", U32, u32(1))], [one], data)
    same = key("tokenizer.ggml.tokens", ARRAY, u32(STRING) + u64(3) + text("x") * 3)
    yield "llama.cpp 24885 tokens that are the same", gguf(keys + [same], [one], data)
    yield "llama.cpp 26318 alignment of another type", gguf(keys + [key("general.alignment", I32, u32(32))], [one], data)
    yield "llama.cpp 26318 alignment of 0", gguf(keys + [key("general.alignment", U32, u32(0))], [one], data)
    yield "llama.cpp 26318 alignment that is no power of two", gguf(keys + [key("general.alignment", U32, u32(48))], [one], data)
    yield "llama.cpp 26318 alignment of 2 GiB", gguf(keys + [key("general.alignment", U32, u32(1 << 31))], [one], data)
    yield "llama.cpp 26946 axis of 0", gguf(keys, [info("a.weight", [4, 0])], data)
    yield "llama.cpp 27203 product of axes that is negative", gguf(keys, [info("a.weight", [2**63 - 1, 2], ggml_type=24)], data)
    yield "llama.cpp 6836 name that stands twice", gguf(keys, [one, info("token_embd.weight", [4], offset=32)], data)
    yield "llama.cpp 10100 name longer than ggml's", gguf(keys, [info("a" * 200, [4])], data)
    yield "type that nobody knows", gguf(keys, [info("a.weight", [4], ggml_type=MAX64 & 0xFFFFFFFF)], data)
    yield "overlapping tensors", gguf(keys, [info("a.weight", [16]), info("b.weight", [16], offset=32)], data + bytes(64))
    yield "bool of 2", gguf([key("a", BOOL, b"\x02")], [one], data)
    yield "key twice", gguf(keys * 2, [one], data)
    yield "version 1", gguf(keys, [one], data, version=1)
    yield "big-endian", gguf(keys, [one], data, version=3 << 24)
    yield "split without a number", gguf(keys + [key("split.count", U32, u32(3))], [one], data)
    yield "split of very many", gguf(keys + [key("split.count", U64, u64(MAX64)), key("split.no", U64, u64(0)), key("split.tensors.count", U64, u64(1))], [one], data)
    heads = [key("llama.attention.head_count", U32, u32(0)), key("llama.attention.head_count_kv", U32, u32(MAX64 & 0xFFFFFFFF))]
    yield "heads of 0", gguf(keys + heads, [info(f"{Q}.weight", [4, 4])], data)
    name = "blk.0.ffn_up_exps" + "x" * 200_000
    yield "phlora 3 name multiplied by experts", gguf(keys, [info(f"{name}_exps.weight", [1, 1, 50_000], ggml_type=24)], bytes(50_000))
    yield "phlora 3 experts that fill the memory", gguf(keys, [info("blk.0.ffn_up_exps.weight", [1, 1, 1 << 18], ggml_type=24)], bytes(1 << 18))
    tiny = [info(f"t{i}", [1], ggml_type=24, offset=i) for i in range(60_000)]
    yield "many tensors", gguf(keys + [key("general.alignment", U32, u32(1))], tiny, bytes(60_000), alignment=1)
    sound = gguf(keys, [one], data)
    for cut in (0, 3, 4, 7, 8, 20, len(sound) // 2, len(sound) - 1):
        yield f"cut at {cut} of {len(sound)}", sound[:cut]


def gguf_adapters():
    yield "sound", adapter([(Q, [4, 2], [2, 4])])
    yield "llama.cpp 25611 no GGUF at all", b"BAD!\n"
    sound = adapter([(Q, [4, 2], [2, 4])])
    yield "llama.cpp 27056 data cut short", sound[:-16]
    yield "llama.cpp 29128 experts of A and B differ", adapter([("blk.0.ffn_up_exps", [4, 2, 8], [2, 4, 4])])
    yield "rank of A and B differ", adapter([(Q, [4, 2], [3, 4])])
    yield "only A", gguf(adapter_keys(), [info(f"{Q}.weight.lora_a", [4, 2])], f32(0.5) * 8)
    yield "alpha is no number", adapter([(Q, [4, 2], [2, 4])], alpha=float("nan"))
    yield "alpha is infinite", adapter([(Q, [4, 2], [2, 4])], alpha=float("inf"))
    yield "not of type lora", gguf(model_keys(), [info(f"{Q}.weight.lora_a", [4, 2]), info(f"{Q}.weight.lora_b", [2, 4], offset=32)], f32(0.5) * 16)
    yield "factors with one axis", adapter([(Q, [4], [4])])
    yield "factors with four axes", adapter([(Q, [4, 2, 1, 2], [2, 4, 1, 2])])
    long = "blk.0." + "x" * 200_000
    yield "phlora 3 name multiplied by experts", adapter([(f"{long}_exps", [1, 1, 50_000], [1, 1, 50_000])])
    yield "phlora 3 experts that fill the memory", adapter([("blk.0.ffn_up_exps", [1, 1, 200_000], [1, 1, 200_000])])


def peft(name, config, weights=None):
    return name, {"adapter_config.json": config, "adapter_model.safetensors": peft_weights() if weights is None else weights}


def peft_adapters():
    yield peft("sound", peft_config())
    patterns = {f"a{i}(\\w{{100}}){{9}}": 2 for i in range(200)}
    yield peft("phlora 4 expressions that compile to much", peft_config(rank_pattern=patterns))
    yield peft("phlora 4 expression that nests counts", peft_config(alpha_pattern={"((a{1,100}){1,100}){1,100}": 2}))
    yield peft("phlora 4 many expressions", peft_config(rank_pattern={f"x.*{i}": 2 for i in range(3000)}))
    plain = {f"model.layers.{i}.mlp.up_proj": 2 for i in range(20_000)}
    yield peft("phlora 4 many plain keys", peft_config(rank_pattern=plain, alpha_pattern=plain))
    yield peft("phlora 5 list of zeros", b'{"peft_type":"LORA","junk":[' + b"0," * 4_000_000 + b"0]}")
    yield peft("phlora 5 nested lists", b'{"peft_type":"LORA","r":2,"junk":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}")
    yield peft("phlora 5 many keys", b'{"peft_type":"LORA","r":2,' + b",".join(b'"k%d":0' % i for i in range(400_000)) + b"}")
    yield peft("many targets", peft_config(target_modules=[""] * 2_000_000))
    yield peft("many rows of tokens", peft_config(trainable_token_indices=list(range(1_000_000))))
    yield peft("rank of 0", peft_config(r=0))
    yield peft("rank beyond all", peft_config(r=10**18))
    yield peft("rank that is no number", peft_config(r="x"))
    yield peft("alpha that overflows", peft_config().replace(b'"lora_alpha": 4', b'"lora_alpha": 1e999'))
    yield peft("modules stored whole that are not there", peft_config(modules_to_save=["lm_head"] * 1000))
    yield peft("base that is a device", peft_config(base_model_name_or_path="/dev/zero"))
    yield peft("base that is above", peft_config(base_model_name_or_path="../../../../../../etc"))
    odd = "model.layers.0.\u202egnp.\u200bx\u001b[2J"
    yield peft("names that change what a terminal shows", peft_config(), peft_weights([odd]))
    yield peft("no JSON", b"{")
    yield peft("many modules", peft_config(), peft_weights([f"m.{i}" for i in range(20_000)], size=2))
    yield peft("configuration and weights empty", b"", b"")


def headers():
    one = tensor([2], 0, 8)
    data = f32(0.5) * 2
    raw = json.dumps(one)
    yield "sound", safetensors({"a": one}, data)
    yield "header longer than the file", safetensors({"a": one}, data, length=1 << 40)
    yield "header as long as the address range", safetensors({"a": one}, data, length=MAX64)
    yield "header of nothing", safetensors("", b"")
    yield "header that drives allocation", safetensors('{"a":{"dtype":"F32","shape":[' + "1," * 2_000_000 + '1],"data_offsets":[0,4]}}', f32(1))
    yield "phlora 5 values that are skipped", safetensors('{"a":' + raw[:-1] + ',"x":[' + "0," * 3_000_000 + "0]}}", data)
    tiny = ",".join(f'"{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(300_000))
    yield "phlora 5 many tensors", safetensors("{" + tiny + "}")
    pairs = ",".join(f'"{i:x}":""' for i in range(600_000))
    yield "phlora 5 many metadata", safetensors('{"__metadata__":{' + pairs + '},"a":' + raw + "}", data)
    yield "key twice", safetensors('{"a":' + raw + ',"a":' + raw + "}", data)
    yield "field twice", safetensors('{"a":' + raw[:-1] + ',"dtype":"F32"}}', data)
    yield "metadata twice", safetensors('{"__metadata__":{},"__metadata__":{},"a":' + raw + "}", data)
    yield "metadata that are no texts", safetensors('{"__metadata__":{"x":1},"a":' + raw + "}", data)
    yield "gap", safetensors({"a": tensor([2], 4, 12)}, data + bytes(4))
    yield "gap at the end", safetensors({"a": one}, data + bytes(4))
    yield "overlap", safetensors({"a": one, "b": tensor([2], 4, 12)}, data + bytes(4))
    yield "range is not shape times dtype", safetensors({"a": tensor([3], 0, 8)}, data)
    yield "shape that wraps to the range", safetensors({"a": tensor([2**62, 4], 0, 0)}, b"")
    yield "range that ends before it begins", safetensors({"a": tensor([2], 8, 0)}, data)
    yield "range beyond the file", safetensors({"a": tensor([2**40], 0, 2**42)}, data)
    yield "sizes that are negative", safetensors('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', data)
    yield "sizes that are fractions", safetensors('{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', data)
    yield "nested lists", safetensors('{"a":' + "[" * 500_000 + "]" * 500_000 + "}", b"")
    yield "not UTF-8", safetensors(b'{"\xff":' + raw.encode() + b"}", data)
    yield "a pickle", b"PK\x03\x04" + bytes(64)
    yield "a page", b"<!doctype html><html>"


def directories():
    weights = safetensors({"model.layers.0.self_attn.q_proj.weight": tensor([2], 0, 8)}, f32(0.5) * 2)
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    shard = {"model-00001-of-00001.safetensors": weights}
    yield "index that names a file above", {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "../x.safetensors"}}).encode()} | shard
    yield "index that lies", {"model.safetensors.index.json": json.dumps(index).encode()} | shard
    many = {"weight_map": {f"{i:x}": "a" for i in range(300_000)}}
    yield "phlora 5 index of many tensors", {"model.safetensors.index.json": json.dumps(many, separators=(",", ":")).encode()} | shard
    files = {"weight_map": {f"{i:x}": f"{i:x}" for i in range(100_000)}}
    yield "phlora 5 index of many files", {"model.safetensors.index.json": json.dumps(files, separators=(",", ":")).encode()} | shard
    deep = b'{"model_type":"llama",' + b'"a":{"heads":1,' * 5000 + b'"b":0' + b"}" * 5000 + b"}"
    yield "phlora 5 configuration within configurations", {"config.json": deep, "model.safetensors": weights}
    wide = b'{"model_type":"llama","x":[' + b"0," * 3_000_000 + b"0]}"
    yield "phlora 5 configuration of zeros", {"config.json": wide, "model.safetensors": weights}
    long = b'{"' + b"k" * 500_000 + b'":{' + b",".join(b'"heads%d":1' % i for i in range(20_000)) + b"}}"
    yield "phlora 5 key multiplied by what is in it", {"config.json": long, "model.safetensors": weights}
    yield "vocabulary of empty lines", {"vocab.txt": b"\n" * 3_000_000, "model.safetensors": weights}


def reports():
    report = {"version": 1, "phlora": "0", "modules": [], "total": {"energy": 1, "delta_norm": 1, "parameters_in": 1, "parameters_out": 1}, "left_out": [], "seconds": 1, "bytes_in": 1, "bytes_out": 1}
    yield "sound", json.dumps(report).encode()
    yield "phlora 7 null in the place of a number", json.dumps(report | {"seconds": None}).encode()
    yield "phlora 5 notes", json.dumps(report | {"notes": [""] * 2_000_000}, separators=(",", ":")).encode()
    yield "phlora 5 what is not known", json.dumps(report | {"x": [0] * 3_000_000}, separators=(",", ":")).encode()
    module = {"name": "\u202ex", "shape": [2**60, 2**60], "rank": 2**60, "energy": 1e308, "delta_norm": 1e308, "singular_values": [1e38] * 9, "reads": 1, "converged": True}
    yield "numbers beyond all", json.dumps(report | {"modules": [module] * 3}).encode()


def corpus():
    for name, file in gguf_models():
        yield f"gguf model: {name}", "model", {"m.gguf": file}, "m.gguf"
    for name, file in gguf_adapters():
        yield f"gguf adapter: {name}", "adapter", {"a.gguf": file}, "a.gguf"
    for name, files in peft_adapters():
        yield f"peft: {name}", "adapter", files, "."
    for name, file in headers():
        yield f"safetensors: {name}", "model", {"m.safetensors": file}, "m.safetensors"
        yield f"kohya: {name}", "adapter", {"a.safetensors": file}, "a.safetensors"
    for name, files in directories():
        yield f"directory: {name}", "model", files, "."
    for name, file in reports():
        yield f"report: {name}", "report", {"r.json": file}, "r.json"


def write(directory):
    """Writes every case below `directory` and the list of them, for `run.py`, whose own memory stays small."""
    directory.mkdir(parents=True)
    cases = []
    for number, (name, kind, files, path) in enumerate(corpus()):
        place = directory / f"{number:03}"
        for file, content in files.items():
            target = place / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        size = sum(len(content) for content in files.values())
        cases.append({"name": name, "kind": kind, "path": str(place / path), "bytes": size})
    (directory / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
