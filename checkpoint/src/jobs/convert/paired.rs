//! An adapter held against a base that is no GGUF file: names by their ends, and shapes.

use crate::adapter::{Lora, Naming, View, misfit};
use crate::error::Result;
use crate::pairing::beginnings;
use crate::source::model::Model;

/// An adapter, and its twin under the base's names where these begin otherwise.
pub(super) struct Paired<'a> {
    pub(super) lora: Lora<'a>,
    pub(super) renamed: Option<Lora<'a>>,
    /// How its names were paired with those of the base, where they begin otherwise.
    pub(super) notes: Vec<String>,
}

/// `lora` with what the names of its base, if that is here, make of it.
///
/// # Errors
/// Where the base, whose weights are here, has other shapes, or lacks the modules. The output head may be the embedding,
/// and what an unknown architecture has in memory is not known.
pub(super) fn paired<'a>(lora: Lora<'a>, base: Option<&Model>) -> Result<Paired<'a>> {
    let model = base.filter(|model| !model.is_gguf());
    let Some(model) = model.filter(|_| lora.naming == Naming::HuggingFace) else {
        return Ok(Paired { lora, renamed: None, notes: Vec::new() });
    };
    let view = View::new(model);
    let (named, notes) = beginnings::onto(lora.clone(), &view)?;
    let (mut found, mut lacking) = (0, None);
    for module in &named.modules {
        let Some(weight) = view.of_module(module) else {
            lacking = lacking.or(Some(module));
            continue;
        };
        found += 1;
        if let Some(shape) = misfit(weight, module, named.fan_in_fan_out) {
            let (file, own) = (weight.tensor().file().display(), module.weight_shape());
            let problem = format!(
                "its pair changes a weight of shape {own:?}, but {}.weight in {file} has {shape:?}: wrong base",
                module.name
            );
            return Err(module.a.error(problem));
        }
    }
    if let Some(module) = lacking.filter(|module| found == 0 || view.is_known() && module.name != HEAD) {
        let base = model.path().display();
        let problem = format!("the base {base} has no tensor {}.weight", module.name);
        return Err(module.a.error(problem));
    }
    Ok(Paired { lora, renamed: (!notes.is_empty()).then_some(named), notes })
}

/// What a model that is tied does not store.
const HEAD: &str = "lm_head";
