//! Writes an adapter of one safetensors file.

use super::read::PEFT_CONFIG;
use super::{ALPHA, BASE_NAME, DIFF, DIFF_BIAS, DOWN, UP};
use crate::adapter::provenance::HASHES;
use crate::adapter::stored::shapes;
use crate::adapter::values::Values;
use crate::adapter::weights::{Named, Weights};
use crate::adapter::{Effect, Factor, FullTensor, Lora, LoraModule, Naming};
use crate::error::{Error, Result};
use phlora_core::Dtype;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// Writes `lora`, whose modules have the names of such a file, and gives the number of bytes.
///
/// # Errors
/// When modules have other names, are lookup tables or have a scale that is 0 or beyond f32, what it changes beside factors is not added, or a factor does
/// not fit into its format; and what `out` refuses.
pub(crate) fn write(lora: &Lora<'_>, out: &mut impl Write) -> Result<u64> {
    let weights = weights(lora)?;
    weights.write(out)?;
    Ok(weights.len())
}

/// Bytes that [`write`] will write, from shapes and names alone.
pub(crate) fn length(lora: &Lora<'_>) -> Result<u64> {
    Ok(weights(lora)?.len())
}

fn weights<'l>(lora: &'l Lora<'_>) -> Result<Weights<'l>> {
    lora.check()?;
    if lora.naming != Naming::Single {
        return Err(Error::usage("a single file needs modules under the names that its readers know".into()));
    }
    let mut tensors = Vec::with_capacity(3 * lora.modules.len());
    for module in &lora.modules {
        let name = &module.name;
        if module.embedding {
            return Err(module
                .a
                .error(format!("single files hold no factors of a lookup table, which {name} is")));
        }
        // Readers take an alpha of 0 for the rank, and this library refuses it.
        let stated = alpha(module) as f32;
        if stated == 0.0 || !stated.is_finite() {
            let problem =
                format!("single files cannot state its scale {:e}: its alpha is {stated}", module.scale);
            return Err(module.a.error(problem));
        }
        let [down, up] = shapes(&module.a, &module.b, &module.kernel);
        // Exact for every rank, as f16 and bf16 would not be.
        let alpha = Factor::new(Dtype::F32, [1, 1], stated.to_le_bytes().to_vec())?;
        let mut add = |suffix: &str, factor, shape| {
            tensors.push(Named { name: format!("{name}{suffix}"), values: Values::One(factor), shape });
        };
        add(DOWN, Cow::Borrowed(&module.a), down);
        add(UP, Cow::Borrowed(&module.b), up);
        add(ALPHA, Cow::Owned(alpha), Vec::new());
    }
    for tensor in &lora.full {
        tensors.push(difference(tensor)?);
    }
    Weights::new(tensors, &metadata(lora))
}

/// A tensor that is added to one of the base's.
fn difference<'l>(tensor: &'l FullTensor<'_>) -> Result<Named<'l>> {
    let suffix = match tensor.name.rsplit_once('.') {
        Some((_, "weight")) => DIFF,
        Some((_, "bias")) => DIFF_BIAS,
        _ => return Err(tensor.values.error(format!("single files have no place for {}", tensor.name))),
    };
    let Effect::Adds(scale) = tensor.effect else {
        let problem = format!(
            "it holds values in the place of {}, but single files hold differences, for which those of the base are \
             needed",
            tensor.name
        );
        return Err(tensor.values.error(problem));
    };
    let mut values = Cow::Borrowed(&tensor.values);
    if scale != 1.0 {
        values.to_mut().scale(scale);
    }
    Ok(Named {
        name: format!("{}{suffix}", tensor.module()),
        values: Values::One(values),
        shape: tensor.shape.clone(),
    })
}

/// The alpha of a module's own rank that gives its scale: the rank where that is 1.
fn alpha(module: &LoraModule<'_>) -> f64 {
    module.scale * module.rank() as f64
}

/// What kohya's scripts write of a network, `Dynamic` where modules differ, as they do.
fn metadata<'l>(lora: &'l Lora<'_>) -> BTreeMap<&'l str, String> {
    let stated = |conv: bool| {
        let modules =
            lora.modules.iter().filter(|module| (module.kernel.iter().any(|&size| size > 1)) == conv);
        let found: BTreeSet<_> = modules
            .map(|module| (module.rank().to_string(), format!("{:?}", alpha(module) as f32)))
            .collect();
        let mut found = found.into_iter();
        let first = found.next();
        if found.next().is_some() { Some(("Dynamic".to_owned(), "Dynamic".to_owned())) } else { first }
    };
    let (linear, conv) = (stated(false), stated(true));
    // What other tools wrote stays, but for what is stated anew and hashes of tensors that are others now.
    let stale = |key: &str| HASHES.contains(&key) || key == PEFT_CONFIG;
    let kept = lora.metadata.iter().filter(|(key, _)| !stale(key));
    let mut metadata: BTreeMap<&str, String> =
        kept.map(|(key, value)| (key.as_str(), value.clone())).collect();
    metadata.insert("format", "pt".to_owned());
    metadata.insert("ss_network_module", "networks.lora".to_owned());
    if let Some((rank, alpha)) = linear.or(conv.clone()) {
        metadata.insert("ss_network_dim", rank);
        metadata.insert("ss_network_alpha", alpha);
    }
    if let Some((rank, alpha)) = conv {
        let args = serde_json::json!({"conv_dim": rank, "conv_alpha": alpha});
        metadata.insert("ss_network_args", args.to_string());
    }
    if let Some(base) = &lora.base_name {
        // Of what is on this machine only the name, as kohya's scripts do it.
        let local = Path::new(base).file_name().filter(|_| Path::new(base).exists());
        metadata.insert(
            BASE_NAME,
            local.map_or_else(|| base.clone(), |name| name.to_string_lossy().into_owned()),
        );
    }
    metadata
}
