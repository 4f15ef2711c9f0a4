//! Saves an extraction: the PEFT directory and, if wanted, the report, both complete before either appears.

use crate::error::{Error, Result};
use crate::extract::Extraction;
use crate::lora::peft;
use crate::monitor::Monitor;
use crate::report::Report;
use crate::staging::{StagedDir, StagedFile, is_within};
use std::path::{Path, PathBuf};

/// Where an extraction is saved.
#[derive(Debug, Clone)]
pub struct Output {
    /// The adapter directory to create.
    pub directory: PathBuf,
    /// The report to create, outside that directory.
    pub report: Option<PathBuf>,
    /// Whether an adapter directory and a report that are there already are replaced. Anything else never is.
    pub force: bool,
}

impl Output {
    /// Tries whether the output can be created, so that a long extraction does not fail at its end. Leaves
    /// nothing behind.
    ///
    /// # Errors
    /// When something is there that may not be replaced, or the place cannot be written to.
    pub fn check(&self, monitor: &Monitor) -> Result<()> {
        monitor.begin_writing()?;
        let staged = StagedDir::create(&self.directory, self.force)?;
        if let Some(report) = &self.report {
            if is_within(report, &self.directory) {
                return Err(Error::Usage("the report may not be inside the adapter directory".into()));
            }
            StagedFile::write(report, b"", self.force)?;
        }
        drop(staged);
        monitor.end_writing()
    }
}

/// Writes a report alone.
///
/// # Errors
/// When something else than a report is there, or a report is and `force` is not set; a full disk;
/// [`Error::Cancelled`].
pub fn save_report(report: &Report, path: &Path, force: bool, monitor: &Monitor) -> Result<()> {
    monitor.begin_writing()?;
    stage(report, path, force)?.commit()
}

fn stage(report: &Report, path: &Path, force: bool) -> Result<StagedFile> {
    let mut json = serde_json::to_vec_pretty(report).unwrap_or_default();
    json.push(b'\n');
    StagedFile::write(path, &json, force)
}

/// Writes the adapter (`adapter_config.json`, `adapter_model.safetensors`) and the report. Each appears in
/// its place by a rename, after both are complete and synced.
///
/// # Errors
/// As [`Output::check`], a full disk, or [`Error::Cancelled`]; nothing is left behind.
pub fn save(extraction: &Extraction, output: &Output, monitor: &Monitor) -> Result<Report> {
    monitor.begin_writing()?;
    let staged = StagedDir::create(&output.directory, output.force)?;
    let bytes_out = peft::write(&extraction.lora(), staged.path())?;
    monitor.check()?;

    let report = extraction.report(bytes_out);
    let file = output.report.as_ref().map(|path| stage(&report, path, output.force)).transpose()?;
    monitor.check()?;
    staged.commit()?;
    file.map_or(Ok(()), StagedFile::commit)?;
    Ok(report)
}
