//! The list of findings.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Ignored in silence, or suspicious.
    Warning,
    /// Refused, a crash, or output that is no number.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Its name, which stays the same over versions.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The tensor concerned, as the adapter calls it.
    pub tensor: Option<String>,
    /// What was found and what to do.
    pub message: String,
    /// What makes an adapter of it that has no such finding, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// What phlora can do about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Repair {
    /// Convert it to a PEFT directory.
    Peft,
    /// Convert it to a GGUF adapter.
    Gguf,
    /// Convert it to kohya's single file.
    Kohya,
    /// Convert it to MLX's directory.
    Mlx,
    /// Convert it to the names of the checkpoint.
    CheckpointNames,
    /// Convert it to the names in memory.
    MemoryNames,
    /// Write it at one rank and scale 1.
    OneRank(usize),
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        tensor: Option<&str>,
        message: impl Into<String>,
    ) {
        let tensor = tensor.map(str::to_owned);
        self.0.push(Finding { code, severity, tensor, message: message.into(), repair: None });
    }

    pub(super) fn error(&mut self, code: &'static str, tensor: Option<&str>, message: impl Into<String>) {
        self.add(Severity::Error, code, tensor, message);
    }

    /// Says what repairs the last finding.
    pub(super) fn repaired_by(&mut self, repair: Repair) {
        if let Some(last) = self.0.last_mut() {
            last.repair = Some(repair);
        }
    }

    pub(super) fn unknown(&mut self, tensor: &str) {
        self.error("unknown-tensor", Some(tensor), "the base has no such tensor: wrong base or name");
    }

    pub(super) fn warning(&mut self, code: &'static str, tensor: Option<&str>, message: impl Into<String>) {
        self.add(Severity::Warning, code, tensor, message);
    }
}
