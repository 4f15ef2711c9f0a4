//! What each program that runs adapters refuses, ignores or gets wrong, by its own source.

mod consumer;
mod directory;
mod mlx;
mod servers;
mod single;
mod stored;

pub use consumer::Consumer;

use super::findings::{Finding, Findings, Repair};
use super::modules::sound;
use crate::adapter::{Adapter, AdapterFormat, open_gguf};
use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use crate::source::model::Model;
use std::path::Path;

/// Checks `adapter` against `base` and against what `consumer` reads: whether it loads, whether it does anything, and what
/// repairs it. The worst findings come first.
///
/// # Errors
/// As [`check`](crate::check).
pub fn check_for(
    adapter: &Path,
    base: &Model,
    consumer: Consumer,
    monitor: &Monitor,
) -> Result<Vec<Finding>> {
    let is_gguf = open_gguf(adapter)?.is_some();
    let mut findings = Findings::default();
    if !adapter.exists() {
        return Err(Error::io(adapter, "open", std::io::ErrorKind::NotFound.into()));
    }
    match consumer {
        Consumer::LlamaCpp if is_gguf || base.is_gguf() => return sound(adapter, base, monitor)?.0.sorted(),
        Consumer::LlamaCpp => {
            findings.error("wrong-format", None, "llama.cpp reads a GGUF file; convert it");
            findings.repaired_by(Repair::Gguf);
        }
        Consumer::Ollama if is_gguf => return sound(adapter, base, monitor)?.0.sorted(),
        Consumer::Ollama => servers::ollama(adapter, base, &mut findings)?,
        Consumer::Mlx => mlx::check(adapter, base, &mut findings)?,
        Consumer::Diffusers => single::check(adapter, base, &mut findings)?,
        Consumer::Peft | Consumer::Vllm | Consumer::Sglang => {
            if is_gguf || !stored::is_directory(adapter) {
                let message = format!(
                    "{} reads a directory with adapter_config.json and adapter_model.safetensors; convert it to PEFT's format",
                    consumer.name()
                );
                findings.error("wrong-format", None, message);
                findings.repaired_by(Repair::Peft);
            } else {
                directory::check(adapter, base, consumer, &mut findings)?;
            }
        }
    }
    // What no program could use: shapes, entries that are no numbers, pairs that do nothing.
    if consumer != Consumer::Mlx || is_read(adapter) {
        let known: Vec<_> = findings.codes().collect();
        let more = sound(adapter, base, monitor)?.0.sorted()?;
        let format = |code: &str| matches!(code, "needs-conversion" | "other-names");
        // A name that the base lacks was said to be so.
        let said = |code: &str| {
            code == "unknown-tensor" && (known.contains(&"unread") || known.contains(&"unknown-module"))
        };
        findings.extend(more.into_iter().filter(|finding| !format(finding.code) && !said(finding.code)));
    }
    findings.sorted()
}

/// Adds what PEFT refuses or passes over to what was found of a sound directory.
pub(super) fn as_peft(adapter: &Path, base: &Model, findings: &mut Findings) -> Result<()> {
    if !stored::is_directory(adapter) {
        return Ok(());
    }
    let mut more = Findings::default();
    directory::check(adapter, base, Consumer::Peft, &mut more)?;
    // Names that the base lacks were said to be so. A head of the adapter's own is loaded into a class that has one, and there
    // the base's weights are called as in the adapter.
    let known = findings.codes().any(|code| matches!(code, "unknown-tensor" | "new-head"));
    findings.extend(more.sorted()?.into_iter().filter(|finding| !(known && finding.code == "unread")));
    Ok(())
}

/// Whether phlora reads it at all.
fn is_read(adapter: &Path) -> bool {
    Adapter::open(adapter).is_ok_and(|adapter| adapter.format() != AdapterFormat::Gguf)
}
