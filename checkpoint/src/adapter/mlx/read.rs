//! Reads an adapter of mlx-lm.

use super::{SUFFIXES, WEIGHTS};
use crate::adapter::peft::CONFIG;
use crate::adapter::stored::matrix;
use crate::adapter::{Lora, LoraModule, Naming};
use crate::error::{Error, Result};
use crate::naming::kind::{Kind, kind_of};
use crate::source::json_file::read_json;
use crate::source::model::Model;
use crate::source::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// An adapter directory, its factors mapped.
#[derive(Debug)]
pub(crate) struct Directory {
    weights: Model,
    rank: usize,
    scale: f64,
    base_name: Option<String>,
}

impl Directory {
    /// The directory of an adapter that `path`, it or a file in it, belongs to; `None` where it is none of mlx-lm.
    ///
    /// # Errors
    /// When its files are unsound, or it is no LoRA adapter.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let directory = if path.is_dir() { path } else { crate::run::staging::parent(path) };
        let (weights, config) = (directory.join(WEIGHTS), directory.join(CONFIG));
        let named = path.is_dir() || path.ends_with(WEIGHTS) || path.ends_with(CONFIG);
        if !named || !weights.is_file() || directory.join(crate::adapter::peft::WEIGHTS).exists() {
            return Ok(None);
        }
        let json = read_json(&config)?;
        let bad = |problem: String| Error::format(&config, problem);
        let [kind, parameters, base] = json.root().pick(["fine_tune_type", "lora_parameters", "model"]);
        match kind.text().as_deref() {
            None | Some("lora") => {}
            Some(other) => return Err(bad(format!("its fine_tune_type is {other}, expected lora"))),
        }
        let [rank, scale] = parameters.pick(["rank", "scale"]);
        let rank = rank.size().filter(|&rank| rank > 0);
        let rank = rank.ok_or_else(|| bad("its lora_parameters state no rank of at least 1".into()))?;
        let scale = scale.number().filter(|scale| scale.is_finite());
        let scale = scale.ok_or_else(|| bad("its lora_parameters state no scale".into()))?;
        let base_name = base.text().map(std::borrow::Cow::into_owned);
        Ok(Some(Self { weights: Model::open(&weights)?, rank, scale, base_name }))
    }

    /// The alpha that gives its scale.
    pub(crate) fn alpha(&self) -> f64 {
        self.scale * self.rank as f64
    }

    /// What it holds, modules sorted by name; complete pairs, or an error.
    pub(crate) fn lora(&self) -> Result<Lora<'_>> {
        let mut pairs = BTreeMap::<&str, [Option<Tensor<'_>>; 2]>::new();
        for (_, tensor) in self.weights.tensors() {
            let found = SUFFIXES
                .iter()
                .enumerate()
                .find_map(|(at, suffix)| Some((tensor.stored_name().strip_suffix(suffix)?, at)));
            let Some((module, at)) = found else {
                return Err(tensor.error("not a LoRA factor, expected MODULE.lora_a or MODULE.lora_b"));
            };
            pairs.entry(module).or_default()[at] = Some(tensor);
        }
        let mut modules = Vec::with_capacity(pairs.len());
        for (name, pair) in pairs {
            match pair {
                [Some(a), Some(b)] => modules.push(self.module(name, a, b)?),
                [Some(alone), None] => return Err(alone.error("its lora_b is missing")),
                [None, Some(alone)] => return Err(alone.error("its lora_a is missing")),
                [None, None] => {}
            }
        }
        if modules.is_empty() {
            return Err(Error::format(self.weights.path(), "it holds no LoRA factors"));
        }
        Ok(Lora { base_name: self.base_name.clone(), ..Lora::new(modules, Naming::HuggingFace) })
    }

    fn module<'a>(&self, name: &'a str, a: Tensor<'a>, b: Tensor<'a>) -> Result<LoraModule<'a>> {
        for (tensor, axis, expected) in [(&a, 1, "[in, rank]"), (&b, 0, "[rank, out]")] {
            if tensor.shape().len() != 2 || tensor.shape()[axis] != self.rank {
                let (shape, rank) = (tensor.shape(), self.rank);
                let problem =
                    format!("its shape is {shape:?}, expected {expected} of rank {rank} by {CONFIG}");
                return Err(tensor.error(problem));
            }
        }
        let shape = [a.shape()[0], b.shape()[1]];
        let embedding = kind_of(&format!("{name}.weight"), &shape) == Kind::Embedding;
        let (mut a, mut b) = (matrix(a)?, matrix(b)?);
        if embedding {
            std::mem::swap(&mut a, &mut b);
        } else {
            a.transpose();
            b.transpose();
        }
        Ok(LoraModule { scale: self.scale, embedding, ..LoraModule::new(name, a, b) })
    }
}
