//! A PEFT directory: its configuration as each program reads it, and the names of its tensors.

use super::consumer::{Consumer, MAX_NAMES, some};
use super::held::held;
use super::servers;
use super::stored::Stored;
use crate::adapter::View;
use crate::adapter::peft::{CONFIG, PREFIX, WEIGHTS};
use crate::adapter::targets::names_module;
use crate::error::Result;
use crate::jobs::check::findings::{Findings, Repair, Severity};
use crate::naming::kind::{Kind, kind_of, module_of, suffix_of};
use crate::source::json::Json;
use crate::source::json_file::read_json;
use crate::source::model::Model;
use std::collections::BTreeSet;
use std::path::Path;

/// Checks a directory for `consumer`.
pub(super) fn check(adapter: &Path, base: &Model, consumer: Consumer, findings: &mut Findings) -> Result<()> {
    let json = read_json(&adapter.join(CONFIG))?;
    let config = json.root();
    kind(config, consumer, findings);
    if !adapter.join(WEIGHTS).is_file() {
        findings.error("no-weights", None, format!("{WEIGHTS} is missing, without which nothing loads"));
        return Ok(());
    }
    let stored = Stored::read(adapter)?;
    held(&stored, consumer, findings);
    if consumer == Consumer::Peft {
        peft(config, &stored, findings);
    } else {
        servers::check(config, &stored, consumer, findings);
    }
    names(&stored, base, consumer, findings);
    Ok(())
}

/// Only LoRA is read by servers; PEFT reads all its own kinds.
fn kind(config: Json<'_>, consumer: Consumer, findings: &mut Findings) {
    let kind = config.at("peft_type").text().unwrap_or_default().into_owned();
    let dora = config.at("use_dora").bool() == Some(true);
    if consumer == Consumer::Peft {
        if kind.is_empty() {
            findings.error("missing-field", None, "its configuration has no peft_type, which PEFT refuses");
        }
        return;
    }
    if kind != "LORA" {
        let shown = if kind.is_empty() { "missing" } else { &kind };
        let message = format!("its peft_type is {shown}: {} reads LORA alone", consumer.name());
        findings.error("peft-type", None, message);
        findings.repaired_by(Repair::Peft);
    }
    if dora {
        let message = format!(
            "it is a DoRA adapter, which {} does not run: phlora convert makes a LoRA adapter of it at a rank",
            consumer.name()
        );
        findings.error("dora", None, message);
    }
}

/// PEFT makes layers for what `target_modules` and `target_parameters` match, and passes over the tensors of all others.
fn peft(config: Json<'_>, stored: &Stored, findings: &mut Findings) {
    if !stored.bare.is_empty() {
        let names = some(stored.bare.iter().map(String::as_str));
        let message = format!("PEFT reads only names that begin with {PREFIX}: {names}");
        findings.warning("prefix", None, message);
    }
    let targets = config.at("target_modules");
    let mut list = Vec::new();
    for field in [targets, config.at("target_parameters")] {
        list.extend(field.texts(MAX_NAMES).unwrap_or_default());
    }
    if !targets.is_array() {
        return;
    }
    let hit = |module: &str| {
        list.iter().any(|target| {
            // Of a parameter the file names the module that holds it.
            names_module(target, module)
                || names_module(module_of(target), module)
                || target.contains(".experts")
        })
    };
    let missed: Vec<_> = stored.modules.keys().map(String::as_str).filter(|module| !hit(module)).collect();
    if !missed.is_empty() {
        let (severity, what) = if missed.len() == stored.modules.len() {
            (Severity::Error, "PEFT refuses an adapter none of whose targets is in the model")
        } else {
            (Severity::Warning, "PEFT passes over their factors")
        };
        let message = format!("target_modules does not name {}: {what}", some(missed.into_iter()));
        findings.add(severity, "untargeted", None, message);
        findings.repaired_by(Repair::Peft);
    }
}

/// Modules that the base does not have under these names: nobody reads their factors.
fn names(stored: &Stored, base: &Model, consumer: Consumer, findings: &mut Findings) {
    let view = View::new(base);
    let memory: BTreeSet<&str> = view.names().map(module_of).collect();
    let checkpoint: BTreeSet<&str> = base.tensors().map(|(name, _)| module_of(name)).collect();
    let known = if consumer == Consumer::Peft { &memory } else { &checkpoint };
    // Experts are stacked in memory, and PEFT names the module that holds them.
    let stack = |module: &str| {
        known.iter().any(|name| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.')))
    };
    let stacked =
        |module: &str| module.ends_with(".base_layer") || (consumer == Consumer::Peft && stack(module));
    let unread: Vec<_> = stored
        .modules
        .keys()
        .map(String::as_str)
        .filter(|module| !known.contains(module) && !stacked(module))
        .collect();
    if unread.is_empty() {
        return;
    }
    let linear: BTreeSet<&str> = base
        .tensors()
        .filter(|(name, tensor)| kind_of(name, tensor.shape()) == Kind::Linear)
        .map(|(name, _)| suffix_of(module_of(name)))
        .collect();
    let refused =
        consumer == Consumer::Vllm && unread.iter().any(|module| !linear.contains(suffix_of(module)));
    let all = unread.len() == stored.modules.len();
    let shown = some(unread.into_iter());
    let what = if all {
        "none of its modules is in the base under these names"
    } else {
        "the base has no such modules"
    };
    let (severity, code, then) = match (refused, all) {
        (true, _) => (Severity::Error, "unknown-module", "vLLM refuses the adapter"),
        (_, true) => (Severity::Error, "unread", "nobody reads them, and the adapter does nothing"),
        (_, false) => (Severity::Warning, "unread", "nobody reads them"),
    };
    findings.add(severity, code, None, format!("{what}: {shown}; {then}"));
    // Where the base has them under its other names, or under names that end alike.
    findings.repaired_by(if consumer == Consumer::Peft {
        Repair::MemoryNames
    } else {
        Repair::CheckpointNames
    });
}
