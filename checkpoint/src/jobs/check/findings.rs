//! The list of findings.

use crate::error::{Error, Reason, Result};
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

/// An adapter that cannot be read.
const INVALID: &str = "adapter-invalid";

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    /// Why the adapter could not be looked at, which says nothing about it.
    failed: Option<Error>,
}

impl Findings {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        tensor: Option<&str>,
        message: impl Into<String>,
    ) {
        let tensor = tensor.map(str::to_owned);
        self.found.push(Finding { code, severity, tensor, message: message.into(), repair: None });
    }

    pub(super) fn error(&mut self, code: &'static str, tensor: Option<&str>, message: impl Into<String>) {
        self.add(Severity::Error, code, tensor, message);
    }

    /// What `error` says of the adapter; where memory was refused that is nothing.
    pub(super) fn broken(&mut self, code: &'static str, tensor: Option<&str>, error: Error) {
        if error.reason() == Some(Reason::NoMemory) {
            self.failed.get_or_insert(error);
        } else {
            self.error(code, tensor, error.to_string());
        }
    }

    /// What `error` says where the adapter could not be opened, once.
    ///
    /// # Errors
    /// `error`, where that says nothing about the adapter.
    pub(super) fn invalid(&mut self, error: Error) -> Result<()> {
        let tensor = match &error {
            Error::Io { .. } | Error::Cancelled => return Err(error),
            Error::Tensor { tensor, .. } => Some(tensor.clone()),
            _ => None,
        };
        if !self.codes().any(|code| code == INVALID) {
            self.broken(INVALID, tensor.as_deref(), error);
        }
        Ok(())
    }

    /// The names of what was found.
    pub(super) fn codes(&self) -> impl Iterator<Item = &'static str> {
        self.found.iter().map(|finding| finding.code)
    }

    /// Adds what was found elsewhere and is `wanted`; of an adapter that cannot be read that is said once.
    pub(super) fn extend(&mut self, other: Self, wanted: impl Fn(&Finding) -> bool) {
        let invalid = self.codes().any(|code| code == INVALID);
        let more = other.found.into_iter().filter(|one| !(invalid && one.code == INVALID) && wanted(one));
        self.found.extend(more);
        self.failed = self.failed.take().or(other.failed);
    }

    /// Leaves out the findings that are not `wanted`.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Finding) -> bool) {
        self.found.retain(wanted);
    }

    /// Leaves out the repairs that do not `work`, each of which is asked for once.
    pub(super) fn keep_repairs(&mut self, mut works: impl FnMut(Repair) -> Result<bool>) -> Result<()> {
        let mut known = Vec::<(Repair, bool)>::new();
        for finding in &mut self.found {
            let Some(repair) = finding.repair else { continue };
            let found = known.iter().find(|(other, _)| *other == repair).map(|(_, works)| *works);
            let works = found.map_or_else(|| works(repair), Ok)?;
            known.push((repair, works));
            finding.repair = Some(repair).filter(|_| works);
        }
        Ok(())
    }

    /// All of them, the worst first.
    ///
    /// # Errors
    /// Where the adapter could not be looked at.
    pub(super) fn sorted(mut self) -> Result<Vec<Finding>> {
        self.found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.failed.map_or(Ok(self.found), Err)
    }

    /// Says what repairs the last finding.
    pub(super) fn repaired_by(&mut self, repair: Repair) {
        if let Some(last) = self.found.last_mut() {
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
