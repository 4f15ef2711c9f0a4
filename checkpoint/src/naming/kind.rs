//! What a tensor is, told by its name and shape: linear, embedding, output head, norm, bias, convolution.

use crate::source::config::Config;

/// The role that a tensor has in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The 2-D weight of a linear layer.
    Linear,
    /// A lookup table [rows, dim]: token or position embedding.
    Embedding,
    /// The output head, often tied to the embedding.
    Head,
    /// Weight of a normalisation.
    Norm,
    /// A bias.
    Bias,
    /// The weight of a convolution, or of stacked layers that are not told apart: more than two axes.
    Conv,
    /// Anything else: buffers, masks, quantisation tables.
    Other,
}

impl Kind {
    /// The name used in tables and reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Embedding => "embedding",
            Self::Head => "output head",
            Self::Norm => "norm",
            Self::Bias => "bias",
            Self::Conv => "convolution",
            Self::Other => "other",
        }
    }
}

/// Lookup tables, by the last name of the module's path.
const EMBEDDINGS: [&str; 25] = [
    "embed_tokens",
    "embed_tokens_per_layer",
    "embed_in",
    "embed_positions",
    "embeddings",
    "embedding",
    "word_embeddings",
    "word_embedding",
    "position_embeddings",
    "token_type_embeddings",
    "tok_embeddings",
    "token_embedding",
    "position_embedding",
    "tokens_embed",
    "positions_embed",
    "rel_embeddings",
    "wte",
    "wpe",
    "shared",
    "relative_attention_bias",
    // GGUF
    "token_embd",
    "position_embd",
    "token_types",
    "per_layer_token_embd",
    "attn_rel_b",
];

/// Modules of GGUF models that are neither linear layers nor norms, whatever the shape of their weight.
const NEITHER: [&str; 6] =
    ["rope_freqs", "rope_factors_long", "rope_factors_short", "ssm_conv1d", "conv1d", "shortconv.conv"];

/// Output heads, by the last name of the module's path; the second list only at the top of the model.
const HEADS: [&str; 2] = ["lm_head", "embed_out"];
const TOP_HEADS: [&str; 8] =
    ["output", "head", "score", "classifier", "qa_outputs", "cls.predictions.decoder", "cls", "cls.output"];

/// Token embeddings, which are the output head of a tied model as well.
const TOKENS: [&str; 7] =
    ["embed_tokens", "embed_in", "word_embeddings", "tok_embeddings", "token_embd", "wte", "shared"];

/// Heads of tasks, one row for each class, at the top of the model.
const TASK_HEADS: [&str; 6] = ["classifier", "score", "qa_outputs", "head", "fc", "classification_head"];

/// Whether a module is the head of a task other than the next token, or belongs to it.
pub(crate) fn is_task_head(module: &str) -> bool {
    TASK_HEADS
        .iter()
        .any(|head| module.strip_prefix(head).is_some_and(|below| below.is_empty() || below.starts_with('.')))
}

/// Whether a module is the token embedding.
pub(crate) fn is_token_table(module: &str) -> bool {
    TOKENS.contains(&suffix_of(module))
}

/// Whether a module that is an output head is one over the vocabulary, and not that of another task.
pub(crate) fn is_vocabulary_head(module: &str) -> bool {
    HEADS.contains(&suffix_of(module)) || ["output", "cls.predictions.decoder"].contains(&module)
}

/// Whether what a module's directions are worth cannot be compared with those of layers within the model.
pub(crate) fn stands_apart(module: &str, shape: &[usize]) -> bool {
    matches!(kind_of(&format!("{module}.weight"), shape), Kind::Head | Kind::Embedding)
}

/// The module a tensor belongs to: its name as far as the last dot.
pub fn module_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

/// What a name begins with: the module at the top that it belongs to.
pub(crate) fn top(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The last name of a module's path.
pub fn suffix_of(module: &str) -> &str {
    module.rsplit_once('.').map_or(module, |(_, last)| last)
}

/// Whether `module` is `path`, or lies at `path` below another module.
fn ends_in(module: &str, path: &str) -> bool {
    module.strip_suffix(path).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The layer that a module belongs to: its path as far as the first number, empty where there is none.
pub fn layer_of(module: &str) -> &str {
    let mut end = 0;
    for name in module.split('.') {
        end += name.len();
        if is_number(name) {
            return &module[..end];
        }
        end += 1;
    }
    ""
}

/// The path of a module within its layer, with `*` for further numbers (experts, nested layers).
pub fn kind_path(module: &str) -> String {
    let rest = module[layer_of(module).len()..].trim_start_matches('.');
    let names = rest.split('.').map(|name| if is_number(name) { "*" } else { name });
    names.collect::<Vec<_>>().join(".")
}

/// Whether a name of a path is a number, as in a list of layers.
pub(crate) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Tells the kind of the tensor `name` of `shape`.
pub fn kind_of(name: &str, shape: &[usize]) -> Kind {
    let module = module_of(name);
    let (last, parameter) = (suffix_of(module), suffix_of(name));
    let head = HEADS.contains(&last) || TOP_HEADS.contains(&module);
    let neither = NEITHER.iter().any(|name| ends_in(module, name));
    let norm = last.to_ascii_lowercase().contains("norm") || last.starts_with("ln_") || last == "ln";
    match (parameter, shape.len()) {
        ("weight" | "bias", 1 | 2) if head => Kind::Head,
        ("weight", 1 | 2) if neither => Kind::Other,
        ("weight", 2) if EMBEDDINGS.contains(&last) => Kind::Embedding,
        // A weight without a module has no name in an adapter.
        ("weight", 2) if !norm && !module.is_empty() => Kind::Linear,
        ("weight" | "bias", 1) if norm => Kind::Norm,
        ("weight" | "scale" | "gamma" | "beta", 1) => Kind::Norm,
        (_, 1) if parameter.ends_with("bias") => Kind::Bias,
        ("weight", 3..) => Kind::Conv,
        _ => Kind::Other,
    }
}

/// Whether the linear weights of this model are stored [in, out], as GPT-2's `Conv1D` does.
///
/// `config.json` decides; without it, GPT-2's own names together with its attention's shape do.
pub(crate) fn is_conv1d_model<'n>(
    config: &Config,
    mut tensors: impl Iterator<Item = (&'n str, &'n [usize])>,
) -> bool {
    if let Some(model_type) = &config.model_type {
        return ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"].contains(&model_type.as_str());
    }
    tensors.any(|(name, shape)| {
        name.ends_with(".attn.c_attn.weight") && matches!(*shape, [n, m] if n.checked_mul(3) == Some(m))
    })
}

/// Whether a linear module of a model with [`is_conv1d_model`] is such a `Conv1D`.
pub(crate) fn is_conv1d(module: &str) -> bool {
    ["c_attn", "c_proj", "c_fc", "q_attn"].contains(&suffix_of(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_common_models() {
        for (name, shape, kind) in [
            ("model.layers.0.self_attn.q_proj.weight", &[8, 8][..], Kind::Linear),
            ("model.layers.0.self_attn.q_proj.bias", &[8], Kind::Bias),
            ("model.layers.0.input_layernorm.weight", &[8], Kind::Norm),
            ("model.norm.weight", &[8], Kind::Norm),
            ("model.layers.0.self_attn.q_norm.weight", &[8], Kind::Norm),
            ("model.embed_tokens.weight", &[9, 8], Kind::Embedding),
            ("lm_head.weight", &[9, 8], Kind::Head),
            ("lm_head.bias", &[9], Kind::Head),
            ("embed_out.weight", &[9, 8], Kind::Head),
            ("output.weight", &[9, 8], Kind::Head),
            ("bert.encoder.layer.0.output.dense.weight", &[9, 8], Kind::Linear),
            ("transformer.wte.weight", &[9, 8], Kind::Embedding),
            ("transformer.h.0.ln_1.bias", &[8], Kind::Norm),
            ("transformer.h.0.attn.c_attn.weight", &[8, 24], Kind::Linear),
            ("transformer.h.0.attn.bias", &[1, 1, 8, 8], Kind::Other),
            ("visual.patch_embed.proj.weight", &[8, 3, 2, 2], Kind::Conv),
            ("model.layers.0.self_attn.rotary_emb.inv_freq", &[4], Kind::Other),
            ("backbone.layers.0.mixer.A_log", &[8, 4], Kind::Other),
            ("scale", &[], Kind::Other),
            ("weight", &[8, 8], Kind::Other),
            (".weight", &[8, 8], Kind::Other),
            ("bert.embeddings.LayerNorm.bias", &[8], Kind::Norm),
            ("bert.embeddings.LayerNorm.beta", &[8], Kind::Norm),
            ("cls.predictions.decoder.weight", &[9, 8], Kind::Head),
            ("model.language_model.embed_tokens_per_layer.weight", &[9, 8], Kind::Embedding),
            ("token_embd.weight", &[9, 8], Kind::Embedding),
            ("blk.0.attn_q.weight", &[8, 8], Kind::Linear),
            ("blk.0.attn_q.bias", &[8], Kind::Bias),
            ("blk.0.attn_norm.weight", &[8], Kind::Norm),
            ("output_norm.weight", &[8], Kind::Norm),
            ("token_embd_norm.weight", &[8], Kind::Norm),
            ("blk.0.ffn_gate_inp.weight", &[4, 8], Kind::Linear),
            ("blk.0.ffn_gate_exps.3.weight", &[9, 8], Kind::Linear),
            ("rope_freqs.weight", &[8], Kind::Other),
            ("blk.0.ssm_conv1d.weight", &[8, 4], Kind::Other),
            ("blk.0.shortconv.conv.weight", &[8, 4], Kind::Other),
            ("blk.0.ssm_in.weight", &[8, 4], Kind::Linear),
            ("blk.0.ssm_a", &[8, 4], Kind::Other),
        ] {
            assert_eq!(kind_of(name, shape), kind, "{name}");
        }
    }

    #[test]
    fn layers_and_kinds_of_paths() {
        for (module, layer, kind) in [
            ("model.layers.12.mlp.down_proj", "model.layers.12", "mlp.down_proj"),
            ("blk.3.attn_q", "blk.3", "attn_q"),
            ("model.layers.1.mlp.experts.7.w1", "model.layers.1", "mlp.experts.*.w1"),
            ("lm_head", "", "lm_head"),
            ("layers.0", "layers.0", ""),
            ("", "", ""),
        ] {
            assert_eq!((layer_of(module), kind_path(module).as_str()), (layer, kind), "{module}");
        }
    }

    #[test]
    fn conv1d_without_config_needs_names_and_shape() {
        let tell = |shape: &[usize]| {
            is_conv1d_model(&Config::default(), [("h.0.attn.c_attn.weight", shape)].into_iter())
        };
        assert!(tell(&[8, 24]));
        assert!(!tell(&[24, 8]));
    }
}
