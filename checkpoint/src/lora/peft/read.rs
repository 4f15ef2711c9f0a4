//! Reads a PEFT adapter directory: which modules it has factors for, and at which scale.

use super::config::AdapterConfig;
use super::{CONFIG, PREFIX, WEIGHTS};
use crate::error::{Error, Result};
use crate::header::pickle_advice;
use crate::lora::stored::pair;
use crate::lora::{Lora, LoraModule, Naming};
use crate::model::{Model, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// An adapter directory, its factors mapped.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) config: AdapterConfig,
    pub(crate) weights: Model,
}

/// What PEFT puts after a module's path: of a linear module, or of an embedding.
const SUFFIXES: [(&str, Part); 4] = [
    (".lora_A.weight", Part { is_a: true, embedding: false }),
    (".lora_B.weight", Part { is_a: false, embedding: false }),
    (".lora_embedding_A", Part { is_a: true, embedding: true }),
    (".lora_embedding_B", Part { is_a: false, embedding: true }),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    is_a: bool,
    embedding: bool,
}

impl Directory {
    /// Opens an adapter directory, or one of the two files in it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let directory = if path.is_dir() { path } else { crate::staging::parent(path) };
        let config = directory.join(CONFIG);
        let mut weights = if path.is_dir() { directory.join(WEIGHTS) } else { path.to_owned() };
        if weights.file_name().is_some_and(|name| name == CONFIG) {
            weights = directory.join(WEIGHTS);
        }
        let pickle = directory.join("adapter_model.bin");
        if !weights.exists() && pickle.exists() {
            return Err(Error::format(&pickle, pickle_advice()));
        }
        Ok(Self { config: AdapterConfig::read(&config)?, weights: Model::open(&weights)? })
    }

    /// What it holds, modules sorted by name; complete pairs of the rank that the configuration says, or an error.
    pub(crate) fn lora(&self) -> Result<Lora<'_>> {
        let mut pairs = BTreeMap::<(&str, bool), [Option<Tensor<'_>>; 2]>::new();
        let mut full = Vec::new();
        for (_, tensor) in self.weights.tensors() {
            let path = tensor.stored_name().strip_prefix(PREFIX);
            let Some(path) = path else { return Err(super::full::unexpected(&tensor)) };
            let part = |(suffix, part): &(&str, Part)| Some((path.strip_suffix(suffix)?, *part));
            let Some((module, part)) = SUFFIXES.iter().find_map(part) else {
                full.extend(super::full::read(path, tensor, &self.config)?);
                continue;
            };
            pairs.entry((module, part.embedding)).or_default()[usize::from(!part.is_a)] = Some(tensor);
        }
        let modules: Vec<_> =
            pairs
                .into_iter()
                .map(|((name, embedding), pair)| match pair {
                    [Some(a), Some(b)] => self.module(name, embedding, a, b),
                    [Some(alone), None] => Err(alone.error("its lora_B is missing")),
                    [None, alone] => Err(alone
                        .map_or_else(|| Error::Usage(name.to_owned()), |b| b.error("its lora_A is missing"))),
                })
                .collect::<Result<_>>()?;
        if modules.is_empty() {
            return Err(Error::format(self.weights.path(), "it holds no LoRA factors"));
        }
        Ok(Lora {
            modules,
            full,
            naming: Naming::HuggingFace,
            base_name: self.config.base_name.clone(),
            architecture: None,
            task: self.config.task.clone(),
            targets: self.config.targets.clone(),
            fan_in_fan_out: self.config.fan_in_fan_out,
        })
    }

    fn module<'a>(
        &self,
        name: &'a str,
        embedding: bool,
        a: Tensor<'a>,
        b: Tensor<'a>,
    ) -> Result<LoraModule<'a>> {
        let (rank, scale) = self.config.rank_and_scale(name);
        let (mut a, mut b, kernel) = pair(a, b, Some((rank, CONFIG)))?;
        if embedding {
            if !kernel.is_empty() {
                return Err(a.error("a lookup table has no kernel"));
            }
            // PEFT adds (B·A)ᵀ to a lookup table.
            std::mem::swap(&mut a, &mut b);
            a.transpose();
            b.transpose();
        }
        Ok(LoraModule { name: name.into(), a, b, scale, expert: None, embedding, kernel })
    }
}
