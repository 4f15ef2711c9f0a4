//! Scales of a layer's input channels, which turn the criterion ‖Δ − B·A‖ into ‖(Δ − B·A)·diag(s)‖: with the root mean
//! squares of the layer's inputs that is the error of its output.

use crate::error::{Error, Result, filled};
use crate::pairing::pairs::Pair;
use crate::source::measure::decode;
use crate::source::model::Model;
use crate::source::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A vector of scales per module, one for each input channel; modules without one count every channel alike.
#[derive(Debug, Clone, Default)]
pub struct ChannelScales {
    path: PathBuf,
    by_module: BTreeMap<String, Arc<[f32]>>,
}

impl ChannelScales {
    /// Reads a safetensors file with a vector for each module, named by the module's path with or without `.weight`.
    ///
    /// # Errors
    /// When the file is not sound or holds nothing; when a tensor is no vector of f32, f16, bf16 or f64, holds a number
    /// that is negative or not finite, or nothing but zeros; file and tensor are named.
    pub fn open(path: &Path) -> Result<Self> {
        let model = Model::open(path)?;
        let mut by_module = BTreeMap::new();
        for (name, tensor) in model.tensors() {
            let module = name.strip_suffix(".weight").unwrap_or(name).to_owned();
            if by_module.insert(module, read(tensor)?).is_some() {
                return Err(tensor.error("its module has another vector, with or without .weight"));
            }
        }
        if by_module.is_empty() {
            return Err(Error::format(path, "it holds no vector of channel scales"));
        }
        Ok(Self { path: path.to_owned(), by_module })
    }

    /// The scales of each column of a pair's stored weight, those of a convolution repeated over its kernel; `None`
    /// where there are none.
    pub(crate) fn of(&self, pair: &Pair<'_>) -> Option<Arc<[f32]>> {
        let scales = self.of_module(pair)?;
        let kernel: usize = pair.kernel().iter().product();
        if kernel == 1 {
            return Some(Arc::clone(scales));
        }
        Some(scales.iter().flat_map(|&scale| std::iter::repeat_n(scale, kernel)).collect())
    }

    /// The vector of a module, by its path in the checkpoint or in memory.
    fn of_module(&self, pair: &Pair<'_>) -> Option<&Arc<[f32]>> {
        self.by_module.get(pair.module()).or_else(|| self.by_module.get(pair.path()))
    }

    /// Checks that the scales belong to `pairs`, those that are extracted.
    ///
    /// # Errors
    /// When a vector has another length than its module has input channels, a module's weight is stored [in, out], or
    /// none of the modules has a vector.
    pub(crate) fn check<'p, 'm: 'p>(&self, pairs: impl Iterator<Item = &'p Pair<'m>>) -> Result<()> {
        if self.by_module.is_empty() {
            return Ok(());
        }
        let (mut found, mut example) = (0, None);
        for pair in pairs {
            example = example.or(Some(pair.module()));
            let Some(scales) = self.of_module(pair) else { continue };
            found += 1;
            let problem = if pair.transposed {
                "channel scales of weights that are stored [in, out] are not supported; leave them out"
                    .to_owned()
            } else {
                let kernel: usize = pair.kernel().iter().product();
                let inputs = pair.stored_shape().1 / kernel.max(1);
                if scales.len() == inputs {
                    continue;
                }
                format!("{} channel scales, but the module has {inputs} input channels", scales.len())
            };
            return Err(Error::tensor(&self.path, pair.module(), problem));
        }
        if found == 0 {
            let ours = self.by_module.keys().next().map_or("nothing", String::as_str);
            let problem = format!(
                "none of its vectors belongs to a module that is extracted (here e.g. {ours}, there e.g. {})",
                example.unwrap_or("nothing")
            );
            return Err(Error::format(&self.path, problem));
        }
        Ok(())
    }
}

/// The vector of a tensor.
fn read(tensor: Tensor<'_>) -> Result<Arc<[f32]>> {
    let dtype = tensor.readable()?;
    let [len] = *tensor.shape() else {
        return Err(tensor.error(format!("its shape is {:?}, expected a vector", tensor.shape())));
    };
    let mut values = filled(0.0, len)?;
    decode(tensor, dtype, 0..len, &mut values)?;
    if let Some(at) = values.iter().position(|value| !value.is_finite() || *value < 0.0) {
        let problem = format!("entry {at} is {}, expected a finite scale of at least 0", values[at]);
        return Err(tensor.error(problem));
    }
    if values.iter().all(|value| *value == 0.0) {
        return Err(tensor.error("all scales are 0, expected some above"));
    }
    Ok(values.into())
}
