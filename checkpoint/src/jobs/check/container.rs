//! A GGUF adapter as a file: header, keys, places, names.

use super::findings::Findings;
use super::pairs;
use crate::adapter::gguf::{MAX_NAME, key};
use crate::error::{Error, Reason, Result};
use crate::source::gguf::{File, TensorInfo, Value};
use crate::source::mapped::Mapped;
use crate::source::model::Model;

/// Tokens that switch an activated LoRA on.
const ALORA: &str = "adapter.alora.invocation_tokens";

/// Checks the file and, as far as it can be read, all that it holds.
pub(super) fn check(adapter: &Mapped, base: &Model, findings: &mut Findings) -> Result<()> {
    let file = match File::parse(adapter.path(), adapter.bytes(), adapter.len()) {
        Ok(file) => file,
        Err(error) => {
            unreadable(adapter, error, findings);
            return Ok(());
        }
    };
    keys(&file, base, findings);
    places(&file, findings);
    pairs::check(&file, adapter, base, findings)
}

/// Names what keeps a file from being read.
fn unreadable(adapter: &Mapped, error: Error, findings: &mut Findings) {
    let version =
        adapter.bytes().get(4..8).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    match error {
        error if error.reason() == Some(Reason::NoMemory) => findings.broken("gguf-invalid", None, error),
        Error::Tensor { tensor, problem, .. } => {
            let code = if problem.contains("cannot store") {
                "rank-not-in-blocks"
            } else if problem.contains("offset") || problem.contains("overlap") {
                "bad-offset"
            } else if problem.contains("named twice") {
                "duplicate-name"
            } else {
                "bad-tensor"
            };
            findings.error(code, Some(&tensor), format!("{problem}; write the adapter again"));
        }
        other if !matches!(version, Some(2 | 3)) => findings.error("gguf-version", None, other.to_string()),
        other => findings.error("gguf-invalid", None, other.to_string()),
    }
}

fn keys(file: &File<'_>, base: &Model, findings: &mut Findings) {
    let text = |key| file.str(key).unwrap_or("missing");
    if text(key::TYPE) != "adapter" {
        let message =
            format!("key {} is {}, expected adapter: this is no adapter file", key::TYPE, text(key::TYPE));
        findings.error("not-an-adapter", None, message);
    }
    if text(key::ADAPTER_TYPE) != "lora" {
        let found = text(key::ADAPTER_TYPE);
        let message =
            format!("key {} is {found}, expected lora: llama.cpp reads no other kind", key::ADAPTER_TYPE);
        findings.error("adapter-type", None, message);
    }
    let (own, expected) = (text(key::ARCHITECTURE), base.architecture().unwrap_or("missing"));
    if own != expected {
        let message =
            format!("its architecture is {own}, that of the base {expected}: it belongs to another model");
        findings.error("wrong-architecture", None, message);
    }
    match file.get(key::ALPHA) {
        None => {}
        Some(Value::F32(alpha)) if alpha.is_finite() => {}
        Some(Value::F32(alpha)) => {
            findings.error("alpha-not-finite", None, format!("key {} is {alpha}", key::ALPHA));
        }
        Some(other) => {
            let message = format!(
                "key {} is of type {}, expected f32; convert it again",
                key::ALPHA,
                other.type_name()
            );
            findings.error("alpha-type", None, message);
        }
    }
    if let Some(value) = file.get(ALORA) {
        let fits = matches!(value, Value::Array(array) if array.element.name() == "u32");
        if !fits {
            findings.error("alora-type", None, format!("key {ALORA} is not an array of u32"));
        }
    }
}

/// llama.cpp wants the tensors one after another, in the order of the table.
fn places(file: &File<'_>, findings: &mut Findings) {
    let mut expected = file.data_start;
    for tensor in &file.tensors {
        if tensor.range.start != expected {
            let message = format!(
                "its bytes are at {}, expected {expected}, right after the tensor before; write the adapter again",
                tensor.range.start
            );
            return findings.error("bad-offset", Some(tensor.name), message);
        }
        expected = tensor.range.end.next_multiple_of(file.alignment);
        name(tensor, findings);
    }
}

fn name(tensor: &TensorInfo<'_>, findings: &mut Findings) {
    if tensor.name.len() > MAX_NAME {
        let message = format!("its name has {} bytes, llama.cpp reads at most {MAX_NAME}", tensor.name.len());
        findings.error("name-too-long", Some(tensor.name), message);
    }
}
