//! What a PEFT directory holds, by the names in its file.

use crate::adapter::peft::{CONFIG, PREFIX, WEIGHTS, without_adapter};
use crate::error::Result;
use crate::source::model::Model;
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors of a module in the file.
const SUFFIXES: [&str; 4] = [".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B"];

/// What the file holds.
pub(super) struct Stored {
    /// Modules with factors by their paths, with the rank of their lora_A.
    pub(super) modules: BTreeMap<String, usize>,
    /// Tables among them.
    pub(super) tables: Vec<String>,
    /// Tensors that are no factors.
    pub(super) others: Vec<String>,
    /// Tensors without the prefix that PEFT writes.
    pub(super) bare: Vec<String>,
    /// Tensors whose names have that of the adapter in memory in them.
    pub(super) held: Vec<String>,
}

pub(super) fn is_directory(adapter: &Path) -> bool {
    adapter.is_dir() && adapter.join(CONFIG).is_file()
}

impl Stored {
    pub(super) fn read(adapter: &Path) -> Result<Self> {
        let weights = Model::open(&adapter.join(WEIGHTS))?;
        let mut stored = Self {
            modules: BTreeMap::new(),
            tables: Vec::new(),
            others: Vec::new(),
            bare: Vec::new(),
            held: Vec::new(),
        };
        for (_, tensor) in weights.tensors() {
            let name = tensor.stored_name();
            let Some(path) = name.strip_prefix(PREFIX) else {
                stored.bare.push(name.to_owned());
                continue;
            };
            let plain = without_adapter(path);
            if plain != path {
                stored.held.push(path.to_owned());
            }
            let path = plain.as_ref();
            match SUFFIXES.iter().find_map(|suffix| Some((path.strip_suffix(suffix)?, *suffix))) {
                Some((module, suffix)) => {
                    let rank = stored.modules.entry(module.to_owned()).or_default();
                    if suffix.contains("_A") {
                        *rank = tensor.shape().first().copied().unwrap_or(0);
                    }
                    if suffix == SUFFIXES[2] {
                        stored.tables.push(module.to_owned());
                    }
                }
                None => stored.others.push(path.to_owned()),
            }
        }
        Ok(stored)
    }
}
