//! llama.cpp's LoRA adapters: a GGUF file of factors under the names of the base's tensors.

mod read;
mod write;

pub(crate) use read::AdapterFile;
pub use write::{gguf_len, write_gguf};

/// Longest name of a tensor that llama.cpp reads.
pub(crate) const MAX_NAME: usize = 63;

/// What follows a base tensor's name.
pub(crate) const SUFFIXES: [&str; 2] = [".lora_a", ".lora_b"];

/// What is said of anything beside factors.
pub(crate) const NO_PLACE: &str = "llama.cpp has no place in an adapter";

/// Keys of an adapter.
pub(crate) mod key {
    pub(crate) const ARCHITECTURE: &str = "general.architecture";
    pub(crate) const TYPE: &str = "general.type";
    pub(crate) const ADAPTER_TYPE: &str = "adapter.type";
    pub(crate) const ALPHA: &str = "adapter.lora.alpha";
    pub(super) const BASE_NAME: &str = "general.base_model.0.name";
}

/// Whether llama.cpp takes the pair of this module as one of a lookup table, with A and B exchanged.
pub(crate) fn is_flipped(module: &str) -> bool {
    module.ends_with("token_embd")
}
