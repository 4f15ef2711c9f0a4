//! What each program that runs adapters refuses, ignores or gets wrong, by its own source.

mod consumer;
mod directory;
mod held;
mod mlx;
mod servers;
mod single;
mod stored;

pub use consumer::Consumer;

use super::findings::{Finding, Findings, Repair};
use super::modules::{NO_PLACE, sound};
use super::repairs;
use crate::adapter::peft::{CONFIG, WEIGHTS};
use crate::adapter::{Adapter, AdapterFormat, open_gguf};
use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use crate::source::locate::absent;
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
    if !adapter.exists() {
        return Err(Error::io(adapter, "open", absent(adapter)));
    }
    let adapter = directory_of(adapter);
    let is_gguf = open_gguf(adapter)?.is_some();
    let mut findings = Findings::default();
    if is_gguf && matches!(consumer, Consumer::LlamaCpp | Consumer::Ollama)
        || consumer == Consumer::LlamaCpp && base.is_gguf()
    {
        return sound(adapter, base, monitor)?.sorted();
    }
    // A broken adapter gives findings.
    if let Err(error) = read_by(consumer, adapter, base, is_gguf, &mut findings) {
        findings.invalid(error)?;
    }
    if matches!(consumer, Consumer::LlamaCpp | Consumer::Ollama) && !base.is_gguf() {
        beside_factors(adapter, &mut findings)?;
    }
    // What no program could use: shapes, entries that are no numbers, pairs that do nothing.
    if consumer != Consumer::Mlx || is_read(adapter) {
        let more = sound(adapter, base, monitor)?;
        let has = |findings: &Findings, code: &str| findings.codes().any(|own| own == code);
        let peft = consumer == Consumer::Peft;
        // A head of the adapter's own is loaded into a class that has one, and there the base's weights are called as in the
        // adapter.
        if peft && has(&more, "new-head") {
            findings.retain(|finding| finding.code != "unread");
        }
        // A name that the base lacks was said to be so.
        let said = has(&findings, "unread") || has(&findings, "unknown-module");
        findings.extend(more, |finding| match finding.code {
            "needs-conversion" => false,
            "other-names" => peft,
            "unknown-tensor" => !said,
            _ => true,
        });
    }
    findings.keep_repairs(|repair| repairs::works(repair, adapter, base, monitor))?;
    findings.sorted()
}

/// What `consumer` makes of the adapter's files.
fn read_by(
    consumer: Consumer,
    adapter: &Path,
    base: &Model,
    is_gguf: bool,
    findings: &mut Findings,
) -> Result<()> {
    match consumer {
        Consumer::LlamaCpp => {
            findings.error("wrong-format", None, "llama.cpp reads a GGUF file; convert it");
            findings.repaired_by(Repair::Gguf);
        }
        Consumer::Ollama => servers::ollama(adapter, base, findings)?,
        Consumer::Mlx => mlx::check(adapter, base, findings)?,
        Consumer::Diffusers => single::check(adapter, base, findings)?,
        Consumer::Peft | Consumer::Vllm | Consumer::Sglang => {
            if is_gguf || !stored::is_directory(adapter) {
                let message = format!(
                    "{} reads a directory with adapter_config.json and adapter_model.safetensors; convert it to PEFT's format",
                    consumer.name()
                );
                findings.error("wrong-format", None, message);
                findings.repaired_by(Repair::Peft);
            } else {
                directory::check(adapter, base, consumer, findings)?;
            }
        }
    }
    Ok(())
}

/// What llama.cpp, and Ollama by it, has no place for.
fn beside_factors(adapter: &Path, findings: &mut Findings) -> Result<()> {
    let Ok(opened) = Adapter::open(adapter) else { return Ok(()) };
    for tensor in opened.stored()?.full {
        findings.error("no-place", Some(&tensor.name), NO_PLACE);
    }
    Ok(())
}

/// Whether `adapter` is a directory of PEFT's format, or a file in one.
pub(super) fn is_peft(adapter: &Path) -> bool {
    let directory = directory_of(adapter);
    stored::is_directory(directory) && !directory.join(crate::adapter::mlx::WEIGHTS).is_file()
}

/// The directory of an adapter that `path` is a file in.
fn directory_of(path: &Path) -> &Path {
    let in_one = path.is_file() && [CONFIG, WEIGHTS].iter().any(|name| path.ends_with(name));
    let above = path.parent().filter(|above| in_one && stored::is_directory(above));
    above.unwrap_or(path)
}

/// Whether phlora reads it at all.
fn is_read(adapter: &Path) -> bool {
    Adapter::open(adapter).is_ok_and(|adapter| adapter.format() != AdapterFormat::Gguf)
}
