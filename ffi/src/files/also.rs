//! What is stored beside factors, by the flags that C passes.

use crate::status::Status;
use phlora::{Layers, Tokens};

/// What is stored beside the factors, exactly, as flags that add up: where the file format has a place for it, which
/// GGUF has for none of them.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Also {
    /// Weights and biases of normalisations.
    Norms = 1,
    /// Biases of modules with factors.
    Biases = 2,
    /// Rows of the vocabulary that differ or are new.
    Tokens = 4,
    /// Rows of the vocabulary that the base lacks.
    NewTokens = 8,
    /// Layers that PEFT gives no factors, or wrong ones, but takes whole, such as dilated convolutions. Without this flag
    /// they are stored where all of them together need no more bytes than the factors, and never within a budget.
    Layers = 16,
}

/// What the sum of flags `value` stands for.
pub fn also(value: u32) -> Result<phlora::Also, Status> {
    let has = |flag: Also| value & flag as u32 != 0;
    if value >= 2 * Also::Layers as u32 {
        return Err(Status::UnknownValue);
    }
    let mut also = phlora::Also::default();
    also.norms = has(Also::Norms);
    also.biases = has(Also::Biases);
    also.tokens = Tokens::of(has(Also::Tokens), has(Also::NewTokens));
    also.layers = if has(Also::Layers) { Layers::All } else { Layers::Small };
    Ok(also)
}
