//! What a PEFT adapter holds beside its factors, and where: `modules_to_save`, biases, `trainable_token_indices`.
//!
//! | what | tensor | field of the configuration |
//! |---|---|---|
//! | a module's own values, mostly a norm's | `MODULE.weight`, `MODULE.bias` | `modules_to_save` |
//! | added to the bias of a module with factors | `MODULE.lora_B.bias` | `lora_bias`, of all modules |
//! | values of a bias | `MODULE.bias`, with factors `MODULE.base_layer.bias` | `bias` |
//! | rows of a lookup table or of the output head | `MODULE.token_adapter.trainable_tokens_delta` | `trainable_token_indices` |

use super::config::AdapterConfig;
use super::fields::Fields;
use crate::adapter::{Effect, Factor, FullTensor, Lora};
use crate::error::{Error, Result, filled};
use crate::naming::kind::{module_of, suffix_of};
use crate::source::tensor::Tensor;
use phlora_core::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What PEFT puts after a module's path.
const BIAS: &str = ".lora_B.bias";
const TOKENS: &str = ".token_adapter.trainable_tokens_delta";
const WRAPPED: &str = ".base_layer";

/// PEFT stores these modules whole where their number of rows has changed.
const RESIZED: [&str; 2] = ["embed_tokens", "lm_head"];

/// The tensor at `path`, which is none of the factors; `None` where it changes nothing.
pub(super) fn read<'a>(
    path: &str,
    tensor: Tensor<'a>,
    config: &AdapterConfig,
) -> Result<Option<FullTensor<'a>>> {
    if let Some(module) = path.strip_suffix(BIAS) {
        let (_, scale) = config.rank_and_scale(module);
        let found = FullTensor::stored(format!("{module}.bias"), tensor, Effect::Adds(scale))?;
        // All modules have one, also those whose weight has no bias to add it to.
        return Ok(if found.values.is_zero()? { None } else { Some(found) });
    }
    if let Some(module) = path.strip_suffix(TOKENS) {
        let rows = config.tokens(module).ok_or_else(|| {
            tensor.error(format!("trainable_token_indices does not say which rows of {module} it holds"))
        })?;
        let (found, expected) = (tensor.shape(), rows.len());
        if !matches!(found, [rows, _] if *rows == expected) {
            let problem =
                format!("its shape is {found:?}, expected [{expected}, dim] by trainable_token_indices");
            return Err(tensor.error(problem));
        }
        let found = FullTensor::stored(format!("{module}.weight"), tensor, Effect::Rows(Vec::new()))?;
        return sorted(found, rows).map(Some);
    }
    let (module, parameter) = (module_of(path), suffix_of(path));
    let inner = module.strip_suffix(WRAPPED).unwrap_or(module);
    let stated =
        config.saves(inner) || config.saved_above(inner).is_some() || parameter == "bias" && config.biases;
    if path.contains("lora_") || !stated && !RESIZED.contains(&suffix_of(inner)) {
        return Err(unexpected(&tensor));
    }
    let whole = config.saved_above(inner).map(str::to_owned);
    let found = FullTensor::stored(format!("{inner}.{parameter}"), tensor, Effect::Replaces)?;
    Ok(Some(FullTensor { whole, ..found }))
}

/// What is wrong with a tensor that has no place.
pub(super) fn unexpected(tensor: &Tensor<'_>) -> Error {
    let expected = format!("{}MODULE.lora_A.weight or .lora_B.weight", super::PREFIX);
    tensor.error(format!("not a LoRA factor, expected {expected}"))
}

/// `tensor` with its rows, which are `rows` of the base, in ascending order.
fn sorted<'a>(mut tensor: FullTensor<'a>, rows: &[usize]) -> Result<FullTensor<'a>> {
    let mut order: Vec<_> = (0..rows.len()).collect();
    order.sort_by_key(|&at| rows[at]);
    let ascending: Vec<_> = order.iter().map(|&at| rows[at]).collect();
    if let Some(row) =
        (1..ascending.len()).find(|&at| ascending[at - 1] == ascending[at]).map(|at| ascending[at])
    {
        return Err(tensor.values.error(format!("trainable_token_indices names row {row} twice")));
    }
    if ascending != rows {
        tensor.values = tensor.values.with_rows(&order)?;
    }
    tensor.effect = Effect::Rows(ascending);
    Ok(tensor)
}

/// A tensor of the file: its path in the model, its values and their shape.
pub(super) type Stored<'l> = (String, Cow<'l, Factor<'l>>, Vec<usize>);

/// Where everything beside the factors goes.
///
/// # Errors
/// When PEFT has no place for it.
pub(super) fn place<'l>(lora: &'l Lora<'_>) -> Result<(Fields<'l>, Vec<Stored<'l>>)> {
    let mut fields = Fields { bias: "none", ..Fields::default() };
    let mut stored = Vec::with_capacity(lora.full.len());
    let factored: BTreeMap<_, _> = lora.modules.iter().map(|module| (module.name.as_ref(), module)).collect();
    let weights: Vec<_> =
        lora.full.iter().filter(|tensor| !tensor.name.ends_with(".bias")).map(FullTensor::module).collect();
    for tensor in &lora.full {
        let (module, parameter) = (tensor.module(), suffix_of(&tensor.name));
        let mut values = Cow::Borrowed(&tensor.values);
        let path = match (&tensor.effect, factored.get(module)) {
            (Effect::Adds(scale), Some(beside)) if parameter == "bias" => {
                fields.lora_bias = true;
                values.to_mut().scale(scale / beside.scale);
                format!("{module}{BIAS}")
            }
            (Effect::Adds(_), _) => {
                let name = &tensor.name;
                let problem = format!(
                    "it is added to {name}, but PEFT adds to nothing but the biases of modules with factors; the base's \
                     own values would be needed to store its sum"
                );
                return Err(tensor.values.error(problem));
            }
            (Effect::Rows(rows), _) => {
                fields.tokens.insert(module, rows);
                format!("{module}{TOKENS}")
            }
            (Effect::Replaces, Some(_)) => {
                fields.bias = if fields.bias == "all" { "all" } else { "lora_only" };
                format!("{module}{WRAPPED}.{parameter}")
            }
            (Effect::Replaces, None)
                if parameter == "bias" && !weights.contains(&module) && tensor.whole.is_none() =>
            {
                fields.bias = "all";
                tensor.name.clone().into_owned()
            }
            (Effect::Replaces, None) => {
                fields.modules_to_save.push(tensor.saved_module());
                tensor.name.clone().into_owned()
            }
        };
        stored.push((path, values, tensor.shape.clone()));
    }
    fields.modules_to_save.sort_unstable();
    fields.modules_to_save.dedup();
    if fields.lora_bias {
        missing_biases(lora, &mut stored)?;
    }
    Ok((fields, stored))
}

/// Zeros for the modules whose bias stays as it is: with `lora_bias` PEFT expects one for each.
fn missing_biases(lora: &Lora<'_>, stored: &mut Vec<Stored<'_>>) -> Result<()> {
    for module in &lora.modules {
        let path = format!("{}{BIAS}", module.name);
        if module.embedding {
            let problem =
                format!("{} is a lookup table: PEFT has no biases beside the factors of one", module.name);
            return Err(module.a.error(problem));
        }
        if !stored.iter().any(|(known, ..)| *known == path) {
            let out = module.shape()[0];
            let bytes = filled(0, out.saturating_mul(size_of::<f32>()))?;
            stored.push((path, Cow::Owned(Factor::new(Dtype::F32, [1, out], bytes)?), vec![out]));
        }
    }
    Ok(())
}
