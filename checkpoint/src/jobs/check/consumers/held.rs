//! Factors that were saved by hand, under the names that they have in memory.

use super::consumer::{Consumer, some};
use super::stored::Stored;
use crate::jobs::check::findings::{Findings, Repair, Severity};

/// Names with that of the adapter in memory, of a state dict that was saved by hand.
pub(super) fn held(stored: &Stored, consumer: Consumer, findings: &mut Findings) {
    // SGLang looks for lora_A and lora_B anywhere in a name.
    if stored.held.is_empty() || consumer == Consumer::Sglang {
        return;
    }
    let names = some(stored.held.iter().map(String::as_str));
    let (severity, then) = match consumer {
        Consumer::Peft => (Severity::Note, "which PEFT reads under that name of the adapter alone"),
        _ => (Severity::Error, "which it does not read"),
    };
    let message = format!("saved by hand, with default, the adapter's name in memory, in {names}, {then}");
    findings.add(severity, "adapter-name", None, message);
    findings.repaired_by(if consumer == Consumer::Ollama { Repair::Gguf } else { Repair::Peft });
}
