//! How an adapter is converted.

use crate::adapter::AdapterFormat;
use crate::pairing::aligned::Names;
use crate::source::attention::Heads;
use phlora_core::Dtype;
use std::path::PathBuf;

/// Options of [`convert`](super::convert).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// File format to write.
    pub format: AdapterFormat,
    /// Storage format of the factors; `None`: as they are, or f32 where the file format does not have it.
    pub dtype: Option<Dtype>,
    /// The base model: a GGUF file, or a directory with `config.json`. The adapter is checked against its tensors where these
    /// are there, and names that begin otherwise are paired by their ends. What the adapter names as its base is never opened: whoever made the file chose that path.
    pub base: Option<PathBuf>,
    /// `model_type` or GGUF's architecture, where no base says it.
    pub architecture: Option<String>,
    /// Attention heads, where no base says them.
    pub heads: Option<Heads>,
    /// Whose names a PEFT adapter gets; `None`: those that it has, else those in memory.
    pub names: Option<Names>,
    /// What single files have before the paths of the base's modules, where its names and configuration do not tell.
    pub prefix: Option<String>,
    /// The rank that a DoRA adapter gets, whose change of its base, which must be there, is extracted; other adapters keep theirs.
    pub rank: Option<usize>,
    /// Whether an adapter that is there already is replaced.
    pub force: bool,
}

impl ConvertOptions {
    /// To `format`, the base being what the adapter names, and all else as it is.
    pub fn new(format: AdapterFormat) -> Self {
        Self {
            format,
            dtype: None,
            base: None,
            architecture: None,
            heads: None,
            names: None,
            prefix: None,
            rank: None,
            force: false,
        }
    }
}
