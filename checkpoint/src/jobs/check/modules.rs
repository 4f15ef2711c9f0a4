//! An adapter against its base: what no program could use, whichever it is.

use super::container;
use super::findings::{Findings, Severity};
use crate::adapter::{Adapter, AdapterFormat, Factor, Lora, LoraModule, Naming, View, misfit, open_gguf};
use crate::error::Result;
use crate::naming::memory::Weight;
use crate::pairing::beginnings;
use crate::run::monitor::Monitor;
use crate::source::model::Model;
use std::path::Path;

/// What is said of norms, biases and rows of vocabularies.
pub(super) const NO_PLACE: &str = "llama.cpp, and Ollama with it, applies nothing but factors of an adapter, and phlora convert refuses the rest: extract the adapter without, or merge it into the base";

/// What was found.
pub(super) fn sound(adapter: &Path, base: &Model, monitor: &Monitor) -> Result<Findings> {
    monitor.check()?;
    let mut findings = Findings::default();
    match open_gguf(adapter)? {
        Some(mapped) if base.is_gguf() => container::check(&mapped, base, &mut findings)?,
        None if adapter.is_file() && AdapterFormat::of_path(adapter) == AdapterFormat::Gguf => {
            findings.error("gguf-invalid", None, "the file does not begin as a GGUF file does");
        }
        _ => match Adapter::open(adapter) {
            Ok(opened) => named(opened.stored()?, base, &mut findings, monitor)?,
            Err(error) => findings.invalid(error)?,
        },
    }
    Ok(findings)
}

/// Checks a sound adapter module by module, under the names of the base.
fn named(mut lora: Lora<'_>, base: &Model, findings: &mut Findings, monitor: &Monitor) -> Result<()> {
    let naming = if base.is_gguf() { Naming::Gguf } else { Naming::HuggingFace };
    if naming == Naming::Gguf {
        for tensor in lora.full.drain(..) {
            findings.error("no-place", Some(&tensor.name), NO_PLACE);
        }
    }
    if let Some(problem) = lora.other_architecture(base) {
        findings.error("wrong-architecture", None, problem);
    }
    let transposed = lora.fan_in_fan_out;
    if lora.is_dora() {
        let message = "a DoRA adapter: its change depends on the base; PEFT runs it, phlora convert makes a LoRA adapter of it at a rank";
        findings.add(Severity::Note, "dora", None, message);
    }
    if naming == Naming::Gguf && lora.naming == Naming::HuggingFace {
        let message = "llama.cpp reads it only after phlora convert";
        findings.add(Severity::Note, "needs-conversion", None, message);
    }
    let view = View::new(base);
    let renamed = match beginnings::onto(lora, &view) {
        Ok((renamed, notes)) => {
            for note in notes {
                findings.add(Severity::Note, "other-names", None, note);
            }
            renamed
        }
        Err(error) => {
            findings.broken("unknown-tensor", None, error);
            return Ok(());
        }
    };
    let size = |module: &LoraModule<'_>| (module.a.stored_len() + module.b.stored_len()) as u64;
    monitor.correct_total(0, renamed.modules.iter().map(size).sum());
    for tensor in &renamed.full {
        match view.weight(&tensor.name).map(Weight::tensor) {
            None if naming == Naming::HuggingFace && view.lacks_top_of(&tensor.name) => {
                let message =
                    "the base has no such head: the adapter brings it, for a class of the base that has one";
                findings.add(Severity::Note, "new-head", Some(&tensor.name), message);
            }
            Some(found) if tensor.is_head_for_others(found.shape()) => {
                let message = format!(
                    "a head for other classes: of shape {:?}, in the base {:?}; load the base with as many classes",
                    tensor.shape,
                    found.shape()
                );
                findings.add(Severity::Note, "new-head", Some(&tensor.name), message);
            }
            None => findings.unknown(&tensor.name),
            Some(found) if !tensor.fits(found.shape()) => {
                let (found, own) = (found.shape(), &tensor.shape);
                let message = format!(
                    "the base's shape is {found:?}, that of the adapter's values {own:?}: wrong base"
                );
                findings.error("wrong-shape", Some(&tensor.name), message);
            }
            Some(_) => {}
        }
        if let Err(error) = tensor.values.decoded() {
            findings.broken("not-finite", Some(&tensor.name), error);
        }
    }
    for module in &renamed.modules {
        monitor.check()?;
        let weight = format!("{}.weight", module.name);
        match view.of_module(module).map(|found| misfit(found, module, transposed)) {
            None => findings.unknown(&weight),
            Some(Some(found)) => {
                let shape = module.weight_shape();
                let message =
                    format!("the base's shape is {found:?}, that of the factors {shape:?}: wrong base");
                findings.error("wrong-shape", Some(&weight), message);
            }
            Some(None) => {}
        }
        let values = [module.a.decoded(), module.b.decoded()];
        let zero = module.magnitude.is_none()
            && values.iter().any(|values| values.as_ref().is_ok_and(|v| v.iter().all(|x| *x == 0.0)));
        let magnitude = module.magnitude.as_deref().map(Factor::decoded);
        for error in values.into_iter().chain(magnitude).filter_map(Result::err) {
            findings.broken("not-finite", Some(&weight), error);
        }
        let nothing = if zero {
            Some("a factor is zero everywhere, so that the pair does nothing")
        } else {
            (module.scale == 0.0).then_some("its scale is 0 (alpha), so that the pair does nothing")
        };
        if let Some(message) = nothing {
            findings.warning("no-effect", Some(&weight), message);
        }
        monitor.add_done(size(module));
    }
    Ok(())
}
