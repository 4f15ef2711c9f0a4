//! Reads a PEFT adapter directory: which modules it has factors for, and at which scale.

use crate::adapter::PREFIX;
use crate::adapter_config::AdapterConfig;
use crate::error::{Error, Result};
use crate::header::pickle_advice;
use crate::model::{Model, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// A LoRA adapter on disk, mapped.
#[derive(Debug)]
pub struct Adapter {
    pub(crate) config: AdapterConfig,
    pub(crate) weights: Model,
}

/// The factors of one module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdapterModule<'a> {
    /// Path of the module in the base model.
    pub(crate) name: &'a str,
    /// `lora_A` [rank, in].
    pub(crate) a: Tensor<'a>,
    /// `lora_B` [out, rank].
    pub(crate) b: Tensor<'a>,
    pub(crate) rank: usize,
    /// What B·A is multiplied by.
    pub(crate) scale: f64,
}

impl Adapter {
    /// Opens an adapter directory, or one of the two files in it, and checks that its pairs are complete.
    ///
    /// # Errors
    /// When a file is missing or unsound, or a tensor is not part of a complete LoRA pair of the rank that
    /// the configuration says; file and tensor are named.
    pub fn open(path: &Path) -> Result<Self> {
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
        let adapter = Self { config: AdapterConfig::read(&config)?, weights: Model::open(&weights)? };
        if adapter.modules()?.is_empty() {
            return Err(Error::format(&weights, "it holds no LoRA factors"));
        }
        Ok(adapter)
    }

    /// Its modules, sorted by name.
    pub(crate) fn modules(&self) -> Result<Vec<AdapterModule<'_>>> {
        let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
        for (_, tensor) in self.weights.tensors() {
            let path = tensor.stored_name().strip_prefix(PREFIX);
            let part = |suffix| path.and_then(|path| path.strip_suffix(suffix));
            if let Some(module) = part(".lora_A.weight") {
                a.insert(module, tensor);
            } else if let Some(module) = part(".lora_B.weight") {
                b.insert(module, tensor);
            } else {
                let expected = format!("{PREFIX}MODULE.lora_A.weight or .lora_B.weight");
                return Err(tensor.error(format!("not a LoRA factor, expected {expected}")));
            }
        }
        if let Some((_, alone)) = b.iter().find(|(module, _)| !a.contains_key(*module)) {
            return Err(alone.error("its lora_A is missing"));
        }
        a.into_iter()
            .map(|(module, a)| {
                let b = b.get(module).ok_or_else(|| a.error("its lora_B is missing"))?;
                self.module(module, a, *b)
            })
            .collect()
    }

    fn module<'a>(&self, name: &'a str, a: Tensor<'a>, b: Tensor<'a>) -> Result<AdapterModule<'a>> {
        let (rank, scale) = self.config.rank_and_scale(name);
        for (tensor, axis) in [(a, 0), (b, 1)] {
            if tensor.shape().len() != 2 || tensor.shape()[axis] != rank {
                let shape = if axis == 0 { format!("[{rank}, in]") } else { format!("[out, {rank}]") };
                let problem = format!("its shape is {:?}, expected {shape} by {CONFIG}", tensor.shape());
                return Err(tensor.error(problem));
            }
            if tensor.dtype().is_none() {
                let problem =
                    format!("its dtype {} is not read, expected F32, F16 or BF16", tensor.dtype_name());
                return Err(tensor.error(problem));
            }
        }
        Ok(AdapterModule { name, a, b, rank, scale })
    }
}
