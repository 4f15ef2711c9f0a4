//! Writes an adapter of mlx-lm.

use super::{SUFFIXES, WEIGHTS};
use crate::adapter::peft::CONFIG;
use crate::adapter::values::Values;
use crate::adapter::weights::{Named, Weights};
use crate::adapter::{Lora, LoraModule, Naming, Target};
use crate::error::{Error, Result};
use crate::naming::kind::layer_of;
use crate::run::staging::{fill_synced, write_synced};
use serde_json::json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Writes `lora` into `directory` and waits until it is on disk. Gives the bytes written. Errors name `target`, what the
/// directory is to become.
pub(crate) fn write(lora: &Lora<'_>, directory: &Path, target: &Path) -> Result<u64> {
    let (weights, json) = (weights(lora)?, config(lora));
    write_synced(&directory.join(CONFIG), json.as_bytes())
        .map_err(|e| Error::io(&target.join(CONFIG), "write", e))?;
    fill_synced(&directory.join(WEIGHTS), &target.join(WEIGHTS), |file| weights.write(file))?;
    Ok(weights.len() + json.len() as u64)
}

/// Bytes that [`write`] will write, from shapes and names alone.
pub(crate) fn length(lora: &Lora<'_>) -> Result<u64> {
    Ok(weights(lora)?.len() + config(lora).len() as u64)
}

/// The one scale of all modules; 1 where they have several, which go into `lora_b` then.
fn scale(lora: &Lora<'_>) -> f64 {
    let first = lora.modules.first().map_or(1.0, |module| module.scale);
    if lora.modules.iter().all(|module| module.scale == first) { first } else { 1.0 }
}

fn weights<'l>(lora: &'l Lora<'_>) -> Result<Weights<'l>> {
    lora.check()?;
    lora.factors_only("mlx-lm has no place in an adapter")?;
    if lora.naming != Naming::HuggingFace {
        return Err(Error::usage("mlx-lm knows modules by the names of a checkpoint only".into()));
    }
    let (rank, scale) = (lora.rank(), scale(lora));
    let mut tensors = Vec::with_capacity(2 * lora.modules.len());
    for module in &lora.modules {
        check(module)?;
        let [out, input] = module.shape();
        let (mut a, mut b) = (Cow::Borrowed(&module.a), Cow::Borrowed(&module.b));
        if module.scale != scale {
            b.to_mut().scale(module.scale / scale);
        }
        if module.rank() != rank {
            a.to_mut().resize([rank, input]);
            b.to_mut().resize([out, rank]);
        }
        if module.embedding {
            std::mem::swap(&mut a, &mut b);
        } else {
            a.to_mut().transpose();
            b.to_mut().transpose();
        }
        for (suffix, factor) in SUFFIXES.into_iter().zip([a, b]) {
            let shape = factor.shape().to_vec();
            tensors.push(Named {
                name: format!("{}{suffix}", module.name),
                values: Values::One(factor),
                shape,
            });
        }
    }
    let mut metadata: BTreeMap<&str, String> =
        lora.metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    metadata.insert("format", "mlx".to_owned());
    Weights::new(tensors, &metadata)
}

/// Refuses what mlx-lm has no place for.
fn check(module: &LoraModule<'_>) -> Result<()> {
    let name = &module.name;
    let problem = if module.expert.is_some() || module.target != Target::Module || name.contains(".experts.")
    {
        "mlx-lm has experts stacked under other names, which are not written"
    } else if !module.kernel.is_empty() {
        "mlx-lm applies no adapter to a convolution"
    } else {
        return Ok(());
    };
    Err(module.a.error(format!("{name}: {problem}; leave it out")))
}

/// What mlx-lm builds its modules by: keys are paths within a layer, of modules outside of layers whole ones.
fn config(lora: &Lora<'_>) -> String {
    let key = |module: &LoraModule<'_>| {
        let layer = layer_of(&module.name);
        let within = module.name.strip_prefix(layer).map(|rest| rest.trim_start_matches('.'));
        within.filter(|rest| !layer.is_empty() && !rest.is_empty()).unwrap_or(&module.name).to_owned()
    };
    let keys: BTreeSet<_> = lora.modules.iter().map(key).collect();
    let config = json!({
        "fine_tune_type": "lora",
        "model": lora.base_name,
        // All of them.
        "num_layers": -1,
        "lora_parameters": {"rank": lora.rank(), "scale": scale(lora), "dropout": 0.0, "keys": keys},
    });
    format!("{config:#}\n")
}
