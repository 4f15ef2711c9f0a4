//! Writes the two files.

use super::config::written;
use super::full::{Stored, place};
use super::target::targets;
use super::{CONFIG, PREFIX, WEIGHTS};
use crate::adapter::stored::shapes;
use crate::adapter::values::Values;
use crate::adapter::weights::{Named, Weights};
use crate::adapter::{Factor, Lora, Naming};
use crate::error::{Error, Result, filled};
use crate::naming::spelling;
use crate::run::staging::{fill_synced, write_synced};
use phlora_core::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes `lora` into `directory` and waits until it is on disk. Gives the bytes written. Errors name `target`, what the
/// directory is to become.
pub(crate) fn write(lora: &Lora<'_>, directory: &Path, target: &Path) -> Result<u64> {
    lora.check()?;
    if lora.naming != Naming::HuggingFace {
        return Err(Error::usage("PEFT knows modules by the names of a checkpoint only".into()));
    }
    let (fields, full) = place(lora)?;
    let json = written(lora, &fields)?;
    write_synced(&directory.join(CONFIG), json.as_bytes())
        .map_err(|e| Error::io(&target.join(CONFIG), "write", e))?;
    let weights = weights(lora, full)?;
    fill_synced(&directory.join(WEIGHTS), &target.join(WEIGHTS), |file| weights.write(file))?;
    Ok(weights.len() + json.len() as u64)
}

/// Bytes that [`write`] will write, from shapes and names alone.
pub(crate) fn length(lora: &Lora<'_>) -> Result<u64> {
    let (fields, full) = place(lora)?;
    Ok(weights(lora, full)?.len() + written(lora, &fields)?.len() as u64)
}

/// The file of factors, and of what is stored beside them.
fn weights<'l>(lora: &'l Lora<'_>, full: Vec<Stored<'l>>) -> Result<Weights<'l>> {
    let mut tensors = Vec::with_capacity(2 * lora.modules.len() + full.len());
    for (path, factor, shape) in full {
        tensors.push(Named { name: format!("{PREFIX}{path}"), values: Values::One(factor), shape });
    }
    let targets = targets(lora)?;
    for target in &targets {
        let names = ["lora_A.weight", "lora_B.weight"];
        if let Some(stacked) = target.stacked() {
            for ((name, values), shape) in names.into_iter().zip(stacked).zip(target.shapes()) {
                tensors.push(Named { name: format!("{PREFIX}{}.{name}", target.path), values, shape });
            }
            continue;
        }
        let module = target.modules[0];
        let (mut a, mut b) = (Cow::Borrowed(&module.a), Cow::Borrowed(&module.b));
        if module.scale != target.applied() {
            b.to_mut().scale(module.scale / target.applied());
        }
        if module.rank() != target.rank {
            let [out, input] = module.shape();
            a.to_mut().resize([target.rank, input]);
            b.to_mut().resize([out, target.rank]);
        }
        let mut names = names;
        if module.embedding {
            // PEFT adds (B·A)ᵀ to a lookup table.
            names = ["lora_embedding_A", "lora_embedding_B"];
            std::mem::swap(&mut a, &mut b);
            a.to_mut().transpose();
            b.to_mut().transpose();
        }
        let shapes = shapes(&a, &b, &module.kernel);
        for ((name, factor), shape) in names.into_iter().zip([a, b]).zip(shapes) {
            let name = format!("{PREFIX}{}.{name}", target.path);
            tensors.push(Named { name, values: Values::One(factor), shape });
        }
        if let Some((path, [out, input])) = target.missing_projection(&targets) {
            for (name, shape) in names.into_iter().zip([[target.rank, input], [out, target.rank]]) {
                let zeros = filled(0, shape[0].saturating_mul(shape[1]).saturating_mul(size_of::<f32>()))?;
                let mut factor = Factor::new(Dtype::F32, shape, zeros)?;
                factor.set_dtype(module.a.dtype());
                let (name, values) = (format!("{PREFIX}{path}.{name}"), Values::One(Cow::Owned(factor)));
                tensors.push(Named { name, values, shape: shape.to_vec() });
            }
        }
    }
    // What transformers and PEFT look for, to know whose tensors these are.
    let mut metadata: BTreeMap<&str, String> =
        lora.metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    metadata.insert("format", "pt".to_owned());
    let respelled = respell(&mut tensors, lora);
    if !respelled.is_empty() {
        metadata.insert(spelling::KEY, spelling::to_text(&respelled));
    }
    Weights::new(tensors, &metadata)
}

/// Gives factors the names that PEFT wants in the file; what these stand for.
fn respell(tensors: &mut [Named<'_>], lora: &Lora<'_>) -> BTreeMap<String, String> {
    let mut respelled = BTreeMap::new();
    for tensor in tensors {
        let Some((path, factor)) =
            tensor.name.strip_prefix(PREFIX).and_then(|name| name.split_once(".lora_"))
        else {
            continue;
        };
        let spelled = lora.spelling.in_file(path);
        if spelled != path {
            let name = format!("{PREFIX}{spelled}.lora_{factor}");
            respelled.insert(spelled.into_owned(), path.to_owned());
            tensor.name = name;
        }
    }
    respelled
}
