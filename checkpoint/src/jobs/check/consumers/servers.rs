//! vLLM, SGLang and Ollama, which read a PEFT directory by rules of their own.

use super::consumer::{Consumer, some};
use super::held::held;
use super::stored::{Stored, is_directory};
use crate::adapter::peft::{CONFIG, WEIGHTS};
use crate::error::Result;
use crate::jobs::check::findings::{Findings, Repair, Severity};
use crate::naming::kind::suffix_of;
use crate::source::json::Json;
use crate::source::json_file::read_json;
use crate::source::model::Model;
use std::path::Path;

/// The ranks that vLLM can be started for.
const VLLM_RANKS: [usize; 9] = [1, 8, 16, 32, 64, 128, 256, 320, 512];

/// The kinds of modules that SGLang has places for.
const SGLANG_MODULES: [&str; 15] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "qkv_proj",
    "out_proj",
    "gate_proj",
    "up_proj",
    "gate_up_proj",
    "down_proj",
    "embed_tokens",
    "lm_head",
    "q_a_proj",
    "q_b_proj",
    "kv_b_proj",
];

/// The architectures whose adapters Ollama converts itself.
const OLLAMA_ARCHITECTURES: [&str; 2] = ["llama", "gemma2"];

/// Checks what a server makes of the configuration.
pub(super) fn check(config: Json<'_>, stored: &Stored, consumer: Consumer, findings: &mut Findings) {
    let name = consumer.name();
    for field in ["r", "lora_alpha", "target_modules"] {
        if config.at(field).is_null() {
            findings.error(
                "missing-field",
                None,
                format!("its configuration has no {field}, without which {name} stops"),
            );
            findings.repaired_by(Repair::Peft);
        }
    }
    // SGLang passes over what it does not know.
    let (severity, then) = match consumer {
        Consumer::Vllm => (Severity::Error, "refuses"),
        _ => (Severity::Warning, "passes over"),
    };
    let saved = config.at("modules_to_save");
    if !saved.is_null() && saved.texts(super::consumer::MAX_NAMES).is_none_or(|list| !list.is_empty()) {
        let message =
            format!("modules_to_save is not empty, which {name} {then}: extract the adapter without");
        findings.add(severity, "modules-to-save", None, message);
    }
    if !stored.others.is_empty() {
        let names = some(stored.others.iter().map(String::as_str));
        let message = format!("{name} {then} what is no factor: {names}; extract the adapter without");
        findings.add(severity, "no-place", None, message);
    }
    if consumer == Consumer::Sglang {
        sglang(config, stored, findings);
    }
    if !stored.tables.is_empty() {
        let message = format!(
            "{name} runs factors of embeddings in some architectures alone: {}",
            stored.tables.join(", ")
        );
        findings.warning("embedding", None, message);
    }
    ranks(config, stored, consumer, findings);
}

fn sglang(config: Json<'_>, stored: &Stored, findings: &mut Findings) {
    let targets = config.at("target_modules");
    if let Some(text) = targets.text()
        && !matches!(text.as_ref(), "all" | "all-linear")
    {
        let message =
            "target_modules is a pattern, of which SGLang reads all and all-linear alone: list the modules";
        findings.error("target-pattern", None, message);
        findings.repaired_by(Repair::Peft);
    }
    if config.at("use_rslora").bool() == Some(true) {
        let message =
            "SGLang scales by alpha over rank, use_rslora or not: the adapter is applied at another strength";
        findings.warning("rslora", None, message);
        findings.repaired_by(Repair::OneRank(largest(stored)));
    }
    let unknown: Vec<_> = stored
        .modules
        .keys()
        .map(String::as_str)
        .filter(|module| !SGLANG_MODULES.contains(&suffix_of(module)))
        .collect();
    if !unknown.is_empty() {
        let message = format!("SGLang has no place for {}", some(unknown.into_iter()));
        findings.error("unknown-module", None, message);
    }
}

fn largest(stored: &Stored) -> usize {
    stored.modules.values().copied().max().unwrap_or(0)
}

/// One rank and one scale for all, of which the server must have been started for the rank.
fn ranks(config: Json<'_>, stored: &Stored, consumer: Consumer, findings: &mut Findings) {
    let (name, most) = (consumer.name(), largest(stored));
    let number = |field: &str| config.at(field).number();
    let stated = number("r").unwrap_or(8.0);
    if most as f64 > stated {
        let message = format!("a module has rank {most}, but r is {stated}: {name} makes room for r alone");
        findings.error("rank-above-r", None, message);
        findings.repaired_by(Repair::OneRank(most));
    }
    match (consumer, VLLM_RANKS.iter().find(|&&class| class >= most)) {
        (Consumer::Vllm, None) => {
            let message = format!("its rank is {most}, above 512, the largest that vLLM can be started for");
            findings.error("rank-too-large", None, message);
            findings.repaired_by(Repair::OneRank(512));
        }
        (Consumer::Vllm, Some(class)) if *class > 16 => {
            let message = format!(
                "start vLLM with --max-lora-rank {class}: its default is 16, and this has rank {most}"
            );
            findings.add(Severity::Note, "rank-class", None, message);
        }
        (Consumer::Sglang, _) => {
            let message = format!("start SGLang with max_lora_rank of at least {most}");
            findings.add(Severity::Note, "rank-class", None, message);
        }
        _ => {}
    }
    let alpha = number("lora_alpha").unwrap_or(8.0);
    let mixed = |field: &str, default: f64| {
        let mut differs = false;
        config.at(field).each_entry(|_, value| {
            differs |= value.number() != Some(default);
            true
        });
        differs
    };
    // Scales are alpha / r for all: right where each module's own is the same.
    if mixed("alpha_pattern", alpha) || mixed("rank_pattern", stated) {
        let whole = alpha == stated && pattern_is_one(config);
        if !whole {
            let message = format!(
                "{name} takes one scale for all modules, and passes over rank_pattern and alpha_pattern"
            );
            findings.error("scale-pattern", None, message);
            findings.repaired_by(Repair::OneRank(most));
        } else if consumer == Consumer::Sglang {
            let message =
                "its modules have ranks of their own, which SGLang's checks of a configuration pass over";
            findings.warning("mixed-ranks", None, message);
            findings.repaired_by(Repair::OneRank(most));
        }
    }
}

/// Whether both patterns give each module the same number, so that its scale is 1 like that of all others.
fn pattern_is_one(config: Json<'_>) -> bool {
    let entries = |field: &str| {
        let mut list = Vec::new();
        config.at(field).each_entry(|key, value| {
            list.push((key.into_owned(), value.number().map(f64::to_bits)));
            list.len() < 1 << 20
        });
        list
    };
    entries("rank_pattern") == entries("alpha_pattern")
}

/// Ollama converts a directory for few architectures, and reads alpha as a whole number.
pub(super) fn ollama(adapter: &Path, base: &Model, findings: &mut Findings) -> Result<()> {
    if !is_directory(adapter) {
        findings.error(
            "wrong-format",
            None,
            "Ollama reads a GGUF adapter, or a directory with adapter_config.json",
        );
        findings.repaired_by(Repair::Gguf);
        return Ok(());
    }
    let architecture = base.architecture().unwrap_or("unknown");
    if !OLLAMA_ARCHITECTURES.contains(&architecture) {
        let message = format!(
            "Ollama converts directories of llama and gemma2 itself, not of {architecture}; a GGUF adapter works for all"
        );
        findings.error("architecture", None, message);
        findings.repaired_by(Repair::Gguf);
    }
    if adapter.join(WEIGHTS).is_file() {
        held(&Stored::read(adapter)?, Consumer::Ollama, findings);
    }
    let json = read_json(&adapter.join(CONFIG))?;
    let config = json.root();
    let alpha = config.at("lora_alpha").number().unwrap_or(0.0);
    if alpha.fract() != 0.0 || alpha < 0.0 {
        findings.error(
            "alpha-fraction",
            None,
            format!("lora_alpha is {alpha}, but Ollama reads a whole number alone"),
        );
        findings.repaired_by(Repair::Gguf);
    }
    if ["rank_pattern", "alpha_pattern"].iter().any(|field| !config.at(field).first_value().is_null()) {
        let message = "Ollama passes over rank_pattern and alpha_pattern, so that modules have other scales";
        findings.error("scale-pattern", None, message);
        findings.repaired_by(Repair::Gguf);
    }
    Ok(())
}
