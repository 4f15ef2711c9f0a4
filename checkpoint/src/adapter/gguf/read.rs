//! Reads a GGUF adapter.

use super::{SUFFIXES, is_flipped, key};
use crate::adapter::provenance;
use crate::adapter::{Factor, Lora, LoraModule, Naming};
use crate::error::{Error, Result};
use crate::source::gguf::{File, TensorInfo, Value};
use crate::source::mapped::Mapped;
use crate::source::tensor::{Expert, max_experts};
use std::collections::BTreeMap;
use std::path::Path;

/// A mapped GGUF adapter.
#[derive(Debug)]
pub(crate) struct AdapterFile {
    mapped: Mapped,
}

impl AdapterFile {
    pub(crate) fn new(mapped: Mapped) -> Self {
        Self { mapped }
    }

    /// What `adapter.lora.alpha` is; 0, which stands for scale 1, where it is absent.
    pub(crate) fn alpha(&self) -> Result<f32> {
        alpha(self.mapped.path(), &self.parse()?)
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapped.bytes()
    }

    fn parse(&self) -> Result<File<'_>> {
        File::parse(self.mapped.path(), self.mapped.bytes(), self.mapped.len())
    }

    /// What it holds, modules sorted by name; complete pairs, or an error.
    pub(crate) fn lora(&self) -> Result<Lora<'_>> {
        let (path, file) = (self.mapped.path(), self.parse()?);
        for (key, expected) in [(key::TYPE, "adapter"), (key::ADAPTER_TYPE, "lora")] {
            let found = file.str(key);
            if found != Some(expected) {
                let found = found.unwrap_or("missing");
                return Err(Error::format(path, format!("key {key}: it is {found}, expected {expected}")));
            }
        }
        let alpha = f64::from(alpha(path, &file)?);
        let mut pairs = BTreeMap::<&str, [Option<&TensorInfo<'_>>; 2]>::new();
        for tensor in &file.tensors {
            let found = SUFFIXES.iter().enumerate().find_map(|(at, suffix)| {
                Some((tensor.name.strip_suffix(suffix)?.strip_suffix(".weight")?, at))
            });
            match found {
                Some((module, at)) => pairs.entry(module).or_default()[at] = Some(tensor),
                // llama.cpp passes over them, so that they have no effect.
                None if tensor.name.ends_with("_norm.weight") => {}
                None => {
                    let problem = "not a LoRA factor, expected NAME.weight.lora_a or .lora_b";
                    return Err(Error::tensor(path, tensor.name, problem));
                }
            }
        }
        if pairs.is_empty() {
            return Err(Error::format(path, "it holds no LoRA factors"));
        }
        let mut modules = Vec::with_capacity(pairs.len());
        for (name, pair) in pairs {
            match pair {
                [Some(a), Some(b)] => self.add(name, a, b, alpha, &mut modules)?,
                [Some(alone), None] => return Err(Error::tensor(path, alone.name, "its lora_b is missing")),
                [None, alone] => {
                    let name = alone.map_or(name, |b| b.name);
                    return Err(Error::tensor(path, name, "its lora_a is missing"));
                }
            }
        }
        Ok(Lora {
            base_name: file.str(key::BASE_NAME).map(str::to_owned),
            architecture: file.architecture().map(str::to_owned),
            metadata: provenance::KEYS
                .iter()
                .filter_map(|key| Some(((*key).to_owned(), file.str(key)?.to_owned())))
                .collect(),
            ..Lora::new(modules, Naming::Gguf)
        })
    }

    /// Adds the module of a pair, or those of its experts.
    fn add<'a>(
        &'a self,
        name: &'a str,
        a: &TensorInfo<'a>,
        b: &TensorInfo<'a>,
        alpha: f64,
        modules: &mut Vec<LoraModule<'a>>,
    ) -> Result<()> {
        let stacked = a.shape.len() == 3;
        let count = |tensor: &TensorInfo<'_>| if stacked { tensor.shape[0] } else { 1 };
        if a.shape.len() != b.shape.len() || count(a) != count(b) {
            let problem = format!("its shape is {:?}, that of its lora_a {:?}", b.shape, a.shape);
            return Err(Error::tensor(self.mapped.path(), b.name, problem));
        }
        let (count, most) = (count(a), max_experts(self.mapped.bytes().len()));
        if modules.len().saturating_add(count) > most {
            let problem = format!("with its {count} experts there are more than {most} modules");
            return Err(Error::tensor(self.mapped.path(), a.name, problem));
        }
        let (first, second) = (self.factors(a)?, self.factors(b)?);
        if (first.len(), second.len()) != (count, count) {
            let problem = format!("its {} bytes are not those of {count} experts", a.range.len());
            return Err(Error::tensor(self.mapped.path(), a.name, problem));
        }
        for (index, (mut a, mut b)) in first.into_iter().zip(second).enumerate() {
            let embedding = is_flipped(name);
            if embedding {
                std::mem::swap(&mut a, &mut b);
                a.transpose();
            }
            let scale = if alpha == 0.0 { 1.0 } else { alpha / a.shape()[0] as f64 };
            let expert = stacked.then_some(Expert { index, count });
            let name: std::borrow::Cow<'_, str> =
                if stacked { format!("{name}.{index}").into() } else { name.into() };
            let module = LoraModule { scale, expert, embedding, ..LoraModule::new(name, a, b) };
            module.check()?;
            modules.push(module);
        }
        Ok(())
    }

    /// The matrices of a tensor: one, or one per expert.
    fn factors<'a>(&'a self, tensor: &TensorInfo<'a>) -> Result<Vec<Factor<'a>>> {
        let path = self.mapped.path();
        let bad = |problem: String| Error::tensor(path, tensor.name, problem);
        let (matrices, shape) = match *tensor.shape.as_slice() {
            [rows, cols] => (1, [rows, cols]),
            [matrices, rows, cols] => (matrices, [rows, cols]),
            _ => return Err(bad(format!("its shape is {:?}, expected a matrix", tensor.shape))),
        };
        let dtype =
            tensor.dtype().ok_or_else(|| bad(format!("its type {} is not read", tensor.type_name())))?;
        let bytes = &self.mapped.bytes()[tensor.range.clone()];
        let matrices = bytes.chunks_exact((bytes.len() / matrices.max(1)).max(1));
        matrices
            .map(|bytes| {
                let factor = Factor::new(dtype, shape, bytes).map_err(|e| bad(e.to_string()))?;
                Ok(factor.read_from(path, tensor.name))
            })
            .collect()
    }
}

/// The stated alpha; absent counts as 0, as in llama.cpp.
fn alpha(path: &Path, file: &File<'_>) -> Result<f32> {
    match file.get(key::ALPHA) {
        None => Ok(0.0),
        Some(Value::F32(alpha)) if alpha.is_finite() => Ok(alpha),
        Some(other) => {
            let problem =
                format!("key {}: it is of type {}, expected a finite f32", key::ALPHA, other.type_name());
            Err(Error::format(path, problem))
        }
    }
}
