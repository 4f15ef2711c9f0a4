//! The architectures whose conversion is known, as tables of names.

use HeadRows::{InOrder, Interleaved};

/// An architecture: what GGUF calls it, which `model_type`s it is converted from, and its names.
#[derive(Debug)]
pub(super) struct Known {
    /// `general.architecture`.
    pub(super) gguf: &'static str,
    /// `model_type` in `config.json`.
    pub(super) model_types: &'static [&'static str],
    /// What the conversion does to the rows of `attn_q` and `attn_k`.
    pub(super) heads: HeadRows,
    pub(super) names: &'static Names,
}

/// The order of the rows of `attn_q` and `attn_k` in GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadRows {
    /// As in the checkpoint.
    InOrder,
    /// The two halves of each head's rows by turns.
    Interleaved,
}

/// The names of a family of architectures.
#[derive(Debug)]
pub(super) struct Names {
    /// What stands before a layer's number, the usual one first.
    pub(super) layers: &'static [&'static str],
    /// What stands before other names of the base model, in the order of `layers`.
    pub(super) outer: &'static [&'static str],
    /// In a layer: Hugging Face's module and GGUF's.
    pub(super) in_layer: &'static [(&'static str, &'static str)],
    /// Experts: what stands before and after their number, and the tensor that they are stacked in.
    pub(super) experts: &'static [(&'static str, &'static str, &'static str)],
    /// Outside of the layers and below `outer`.
    pub(super) outside: &'static [(&'static str, &'static str)],
    /// Beside the base model.
    pub(super) beside: &'static [(&'static str, &'static str)],
}

const LAYERS: &[&str] = &["model.layers.", "model.language_model.layers.", "language_model.model.layers."];
const OUTER: &[&str] = &["model.", "model.language_model.", "language_model.model."];
const OUTSIDE: &[(&str, &str)] = &[("embed_tokens", "token_embd"), ("norm", "output_norm")];
/// Without the norm, whose weights are stored in GGUF after something was added.
const EMBEDDING: &[(&str, &str)] = &[("embed_tokens", "token_embd")];
const HEAD: &[(&str, &str)] = &[("lm_head", "output"), ("language_model.lm_head", "output")];

/// Separate projections, gated feed-forward, norms before both: Llama and most others.
const LLAMA: Names = Names {
    layers: LAYERS,
    outer: OUTER,
    in_layer: &[
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        // Mixtral, which GGUF calls llama as well.
        ("block_sparse_moe.gate", "ffn_gate_inp"),
    ],
    experts: &[
        ("block_sparse_moe.experts.", ".w1", "ffn_gate_exps"),
        ("block_sparse_moe.experts.", ".w3", "ffn_up_exps"),
        ("block_sparse_moe.experts.", ".w2", "ffn_down_exps"),
    ],
    outside: OUTSIDE,
    beside: HEAD,
};

/// Llama's linear weights; norms are elsewhere or stored in GGUF after something was added.
const LINEAR: Names = Names {
    in_layer: &[
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    experts: &[],
    outside: EMBEDDING,
    ..LLAMA
};

/// The Qwen and OLMo mixtures of experts.
const EXPERTS: Names = Names {
    in_layer: &[
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate", "ffn_gate_inp"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
        ("mlp.shared_expert.up_proj", "ffn_up_shexp"),
        ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    ],
    experts: &[
        ("mlp.experts.", ".gate_proj", "ffn_gate_exps"),
        ("mlp.experts.", ".up_proj", "ffn_up_exps"),
        ("mlp.experts.", ".down_proj", "ffn_down_exps"),
    ],
    ..LLAMA
};

const PHI3: Names = Names {
    in_layer: &[
        ("self_attn.qkv_proj", "attn_qkv"),
        ("self_attn.o_proj", "attn_output"),
        // Gate and up stay one weight.
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    ],
    experts: &[],
    ..LLAMA
};

const STARCODER2: Names = Names {
    in_layer: &[
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    ],
    experts: &[],
    ..LLAMA
};

/// Stored [in, out] in the checkpoint, [out, in] in GGUF.
const GPT2: Names = Names {
    layers: &["transformer.h.", "h."],
    outer: &["transformer.", ""],
    in_layer: &[
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
        ("ln_1", "attn_norm"),
        ("ln_2", "ffn_norm"),
    ],
    experts: &[],
    outside: &[("wte", "token_embd"), ("wpe", "position_embd"), ("ln_f", "output_norm")],
    beside: &[("lm_head", "output")],
};

const fn known(
    gguf: &'static str,
    model_types: &'static [&'static str],
    heads: HeadRows,
    names: &'static Names,
) -> Known {
    Known { gguf, model_types, heads, names }
}

/// All of them. Where two could serve one name, the first does.
pub(super) const KNOWN: &[Known] = &[
    known("llama", &["llama", "mistral", "mixtral", "internlm3"], Interleaved, &LLAMA),
    known("arcee", &["arcee"], Interleaved, &LLAMA),
    known("granite", &["granite"], Interleaved, &LLAMA),
    known("minicpm", &["minicpm"], Interleaved, &LLAMA),
    known("olmo", &["olmo"], Interleaved, &LLAMA),
    known("smollm3", &["smollm3"], Interleaved, &LLAMA),
    known("apertus", &["apertus"], InOrder, &LINEAR),
    known("command-r", &["cohere"], InOrder, &LINEAR),
    known("cohere2", &["cohere2"], InOrder, &LINEAR),
    known("exaone4", &["exaone4"], InOrder, &LINEAR),
    known("gemma", &["gemma"], InOrder, &LINEAR),
    known("gemma2", &["gemma2"], InOrder, &LINEAR),
    known("gemma3", &["gemma3", "gemma3_text"], InOrder, &LINEAR),
    known("gpt2", &["gpt2"], InOrder, &GPT2),
    known("nemotron", &["nemotron"], InOrder, &LINEAR),
    known("olmo2", &["olmo2", "olmo3"], InOrder, &LINEAR),
    known("olmoe", &["olmoe"], InOrder, &EXPERTS),
    known("phi3", &["phi3"], InOrder, &PHI3),
    known("qwen2", &["qwen2"], InOrder, &LLAMA),
    known("qwen2moe", &["qwen2_moe"], InOrder, &EXPERTS),
    known("qwen3", &["qwen3"], InOrder, &LLAMA),
    known("qwen3moe", &["qwen3_moe"], InOrder, &EXPERTS),
    known("seed_oss", &["seed_oss"], InOrder, &LINEAR),
    known("stablelm", &["stablelm"], InOrder, &LINEAR),
    known("starcoder2", &["starcoder2"], InOrder, &STARCODER2),
];
