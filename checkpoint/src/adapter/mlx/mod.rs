//! mlx-lm's adapter directory: `adapter_config.json` and `adapters.safetensors`.
//!
//! A linear module has `lora_a` [in, rank] and `lora_b` [rank, out], and its weight becomes W + scale·(lora_a·lora_b)ᵀ; of a
//! lookup table [vocabulary, dim] they are [vocabulary, rank] and [rank, dim]. The configuration states one rank and one scale
//! for all modules.

mod read;
mod write;

pub(crate) use read::Directory;
pub(crate) use write::{length, write};

/// The factors' file name.
pub(crate) const WEIGHTS: &str = "adapters.safetensors";

/// What follows a module's path.
const SUFFIXES: [&str; 2] = [".lora_a", ".lora_b"];
