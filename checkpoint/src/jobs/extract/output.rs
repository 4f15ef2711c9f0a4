//! Saves an extraction: the adapter and, if wanted, the report, both complete before either appears.

use crate::adapter::AdapterFormat;
use crate::error::{Error, Result};
use crate::jobs::extract::extraction::Extraction;
use crate::report::{REPORT, Report};
use crate::run::monitor::Monitor;
use crate::run::staging::{Known, StagedFile, is_within, parent};
use crate::source::model::Model;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What the head of a report's page holds: the beginning of its generator's name.
const PAGE_MARK: &str = "<meta name=\"generator\" content=\"phlora report ";

/// Bytes of a page's head.
const HEAD: u64 = 1024;

/// The page of a report, on disk.
const PAGE: Known = Known { name: "the page of a report", is: is_page };

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
            StagedFile::write(report, REPORT, self.force, |_| Ok(()))?;
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
    StagedFile::write(path, PAGE, force, |file| file.write_all(html.as_bytes()).map_err(failed))?.commit()
}

fn stage(report: &Report, path: &Path, force: bool) -> Result<StagedFile> {
    let mut json = serde_json::to_vec_pretty(report).unwrap_or_default();
    json.push(b'\n');
    let failed = |e| Error::io(path, "write", e);
    StagedFile::write(path, REPORT, force, |file| file.write_all(&json).map_err(failed))
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
    file.map_or(Ok(()), StagedFile::commit).map_err(|error| {
        Error::format(
            &output.path,
            format!("the adapter is written and in its place, but its report is not: {error}"),
        )
    })?;
    Ok(report)
}

fn is_page(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains(PAGE_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn replaces_a_report_but_no_other_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("r.json");
        for (content, replaced) in [
            ("", true),
            (r#"{"version":1,"phlora":"0.1.0","modules":[]}"#, true),
            (r#"{"model_type":"llama"}"#, false),
            ("precious", false),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(StagedFile::write(&path, REPORT, true, |_| Ok(())).is_ok(), replaced, "{content}");
            assert!(StagedFile::write(&path, REPORT, false, |_| Ok(())).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
