"""Writes models as GGUF the way llama.cpp wants them, with the PyPI package `gguf`: nothing here is phlora's."""

import gguf
import numpy as np

BLOCK = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    """`model.layers.0.mlp.up_proj.weight` -> `blk.0.ffn_up.weight`, of Llama and Qwen2."""
    module, _, kind = name.rpartition(".")
    if module in WHOLE:
        return f"{WHOLE[module]}.{kind}"
    layer, part = module.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{BLOCK[part]}.{kind}"


def permuted(rows, heads):
    """Each head's rows: the two halves that HF rotates against each other, interleaved."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def from_hf(state, config):
    """{GGUF name: float64 array} of a transformers state (float64 arrays) of Llama or Qwen2."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    tensors = {}
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        projection = name.split(".")[-2]
        if config.model_type == "llama" and projection in heads:
            tensor = permuted(tensor, heads[projection])
        tensors[gguf_name(name)] = tensor
    return tensors


def write(path, tensors, config, dtype=np.float32, vocabulary=False):
    """Matrices in `dtype` (float32 or float16), vectors in float32; no tokenizer, for the tests give ids, or one with a
    word for each id."""
    writer = gguf.GGUFWriter(path, config.model_type if config.model_type != "mixtral" else "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if experts := getattr(config, "num_local_experts", None):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if vocabulary:
        special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        writer.add_tokenizer_model("llama")
        writer.add_token_list([*special, *(f"▁w{at}" for at in range(config.vocab_size))][: config.vocab_size])
        writer.add_token_scores([0.0] * config.vocab_size)
        writer.add_token_types(([2, 3, 3] + [6] * 256 + [1] * config.vocab_size)[: config.vocab_size])
    else:
        writer.add_tokenizer_model("no_vocab")
    for name, tensor in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor, dtype=dtype if tensor.ndim > 1 else np.float32))
    close(writer)
    return path


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path):
    """{name: float32 array}, dequantised by the package's own code; numpy's order, so [rows, columns]."""
    tensors = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        tensors[tensor.name] = values.reshape(tuple(int(n) for n in reversed(tensor.shape))).astype(np.float32)
    return tensors


def fields(path):
    """{key: value} of the metadata, without the reader's own `GGUF.` entries."""
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items() if not key.startswith("GGUF.")}


def updates(adapter):
    """{base tensor: B·A times the scale that llama.cpp applies} in float64, of a GGUF adapter."""
    tensors, alpha = read(adapter), fields(adapter).get("adapter.lora.alpha", 0.0)
    found = {}
    for name in tensors:
        if name.endswith(".lora_a"):
            base = name.removesuffix(".lora_a")
            a, b = (tensors[f"{base}.lora_{half}"].astype(np.float64) for half in "ab")
            rank = b.shape[-1]
            found[base] = (alpha / rank if alpha else 1.0) * (b @ a)
    return found
