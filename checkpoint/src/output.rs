//! Saves an extraction: the PEFT directory and, if wanted, the report, both complete before either appears.

use crate::error::{Error, Result};
use crate::extract::Extraction;
use crate::lora::peft;
use crate::monitor::Monitor;
use crate::report::{REPORT_VERSION, Report};
use crate::staging::{StagedDir, StagedFile, is_within};
use std::path::PathBuf;

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

/// Writes the adapter (`adapter_config.json`, `adapter_model.safetensors`) and the report. Each appears in
/// its place by a rename, after both are complete and synced.
///
/// # Errors
/// As [`Output::check`], a full disk, or [`Error::Cancelled`]; nothing is left behind.
pub fn save(extraction: &Extraction, output: &Output, monitor: &Monitor) -> Result<Report> {
    monitor.begin_writing()?;
    let staged = StagedDir::create(&output.directory, output.force)?;
    let bytes_out = peft::write(&extraction.lora().padded(), staged.path())?;
    monitor.check()?;

    let report = report(extraction, bytes_out);
    let file = match &output.report {
        Some(path) => {
            let mut json = serde_json::to_vec_pretty(&report).unwrap_or_default();
            json.push(b'\n');
            Some(StagedFile::write(path, &json, output.force)?)
        }
        None => None,
    };
    monitor.check()?;
    staged.commit()?;
    file.map_or(Ok(()), StagedFile::commit)?;
    Ok(report)
}

fn report(extraction: &Extraction, bytes_out: u64) -> Report {
    Report {
        version: REPORT_VERSION,
        phlora: env!("CARGO_PKG_VERSION").to_owned(),
        modules: extraction.modules.iter().map(|module| module.report.clone()).collect(),
        total: extraction.total(),
        left_out: extraction.left_out.clone(),
        seconds: extraction.started.elapsed().as_secs_f64(),
        bytes_in: extraction.bytes_in,
        bytes_out,
    }
}
