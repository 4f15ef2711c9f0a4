//! diffusers: one safetensors file, whose names begin as those of a model of a pipeline.

use super::consumer::some;
use crate::adapter::{Adapter, AdapterFormat};
use crate::error::Result;
use crate::jobs::check::findings::{Findings, Repair};
use crate::source::model::Model;
use std::path::Path;

/// What names begin with, by which diffusers finds the model.
const PREFIXES: [&str; 10] = [
    "lora_unet_",
    "lora_te_",
    "lora_te1_",
    "lora_te2_",
    "lora_transformer_",
    "unet.",
    "transformer.",
    "text_encoder",
    "diffusion_model.",
    "lora_te3_",
];

pub(super) fn check(adapter: &Path, base: &Model, findings: &mut Findings) -> Result<()> {
    let single = Adapter::open(adapter)
        .ok()
        .filter(|opened| matches!(opened.format(), AdapterFormat::Kohya | AdapterFormat::Comfy));
    let Some(opened) = single else {
        if !adapter.is_file() {
            let message = "diffusers reads one safetensors file with kohya's or its own names; convert it";
            findings.error("wrong-format", None, message);
            findings.repaired_by(Repair::Kohya);
        }
        return Ok(());
    };
    if base.is_gguf() {
        findings.warning(
            "base-format",
            None,
            "a GGUF base has no names of diffusers: name its checkpoint as the base",
        );
    }
    let lora = opened.lora()?;
    let other: Vec<_> = lora
        .modules
        .iter()
        .map(|module| module.name.as_ref())
        .filter(|name| !PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    if !other.is_empty() {
        let message = format!(
            "diffusers does not know these beginnings of names, and passes over them: {}",
            some(other.into_iter())
        );
        findings.error("prefix", None, message);
    }
    if !lora.full.is_empty() {
        let names: Vec<_> = lora.full.iter().map(|tensor| tensor.name.as_ref()).collect();
        let message = format!(
            "diffusers refuses or passes over what is no factor, by the pipeline: {}",
            some(names.into_iter())
        );
        findings.warning("no-place", None, message);
    }
    Ok(())
}
