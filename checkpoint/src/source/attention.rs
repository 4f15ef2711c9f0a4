//! The numbers of attention heads, by which GGUF orders the rows of some weights.

/// Attention heads of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Of the queries, `num_attention_heads`.
    pub queries: usize,
    /// Of the keys and values, `num_key_value_heads`.
    pub keys: usize,
}
