//! Saves an extraction: the adapter and, if wanted, the report, both complete before either appears.

use crate::error::{Error, Result};
use crate::extract::Extraction;
use crate::lora::AdapterFormat;
use crate::model::Model;
use crate::monitor::Monitor;
use crate::report::Report;
use crate::staging::{Known, StagedFile, is_within, parent};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where an extraction is saved.
#[derive(Debug, Clone)]
pub struct Output {
    /// The adapter to create: a directory, or a GGUF file.
    pub path: PathBuf,
    /// The report to create, outside of the adapter.
    pub report: Option<PathBuf>,
    /// Whether an adapter and a report that are there already are replaced. Anything else never is.
    pub force: bool,
}

impl Output {
    /// Tries whether the output, an adapter of `format`, can be created, so that a long extraction does not fail at its end. Leaves
    /// nothing behind.
    ///
    /// # Errors
    /// When something is there that may not be replaced, or the place cannot be written to.
    pub fn check(&self, format: AdapterFormat, monitor: &Monitor) -> Result<()> {
        monitor.begin_writing()?;
        format.probe(&self.path, self.force)?;
        if let Some(report) = &self.report {
            if is_within(report, &self.path) {
                return Err(Error::Usage("the report may not be inside the adapter".into()));
            }
            StagedFile::write(report, Known::Report, self.force, |_| Ok(()))?;
        }
        monitor.end_writing()
    }

    /// Refuses an adapter of one file in a directory that stands for one of `models`: it would count as weights of it.
    ///
    /// # Errors
    /// When it is there.
    pub fn check_apart(&self, format: AdapterFormat, models: &[&Model]) -> Result<()> {
        let directory = parent(&self.path).canonicalize().ok();
        let is_here = |model: &&&Model| {
            let path = model.path();
            path.is_dir() && directory.is_some() && path.canonicalize().ok() == directory
        };
        match models.iter().find(is_here) {
            Some(model) if format != AdapterFormat::Peft => Err(Error::Usage(format!(
                "{} would lie among the weights of the model {} and count as one of them; choose another place",
                self.path.display(),
                model.path().display()
            ))),
            _ => Ok(()),
        }
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

/// Writes a page of a report, `html`, to `path`.
///
/// # Errors
/// When something else than a page of phlora is there, or one is and `force` is not set; a full disk;
/// [`Error::Cancelled`].
pub fn save_page(html: &str, path: &Path, force: bool, monitor: &Monitor) -> Result<()> {
    monitor.begin_writing()?;
    let failed = |e| Error::io(path, "write", e);
    StagedFile::write(path, Known::Page, force, |file| file.write_all(html.as_bytes()).map_err(failed))?
        .commit()
}

fn stage(report: &Report, path: &Path, force: bool) -> Result<StagedFile> {
    let mut json = serde_json::to_vec_pretty(report).unwrap_or_default();
    json.push(b'\n');
    let failed = |e| Error::io(path, "write", e);
    StagedFile::write(path, Known::Report, force, |file| file.write_all(&json).map_err(failed))
}

/// Writes the adapter, in the format of [`ExtractOptions`](crate::ExtractOptions), and the report. Each appears in
/// its place by a rename, after both are complete and synced.
///
/// # Errors
/// As [`Output::check`], a full disk, or [`Error::Cancelled`]; nothing is left behind.
pub fn save(extraction: &Extraction, output: &Output, monitor: &Monitor) -> Result<Report> {
    monitor.begin_writing()?;
    let (staged, bytes_out) = extraction.format.stage(&extraction.output()?, &output.path, output.force)?;
    monitor.check()?;

    let report = extraction.report(bytes_out);
    let file = output.report.as_ref().map(|path| stage(&report, path, output.force)).transpose()?;
    monitor.check()?;
    staged.commit()?;
    file.map_or(Ok(()), StagedFile::commit)?;
    Ok(report)
}
