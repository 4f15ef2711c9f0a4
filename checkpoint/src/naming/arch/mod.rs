//! What a model's architecture decides about the names and the row order of its weights: between Hugging Face
//! checkpoints and GGUF.
//!
//! llama.cpp's converter renames the tensors of a checkpoint, stacks experts, and reorders the rows of some query
//! and key weights. An adapter has to follow, so only architectures are known here whose conversion does no more
//! than that to linear weights; see [`known`].

mod known;
mod map;

pub use map::{Mapped, NameMap};
