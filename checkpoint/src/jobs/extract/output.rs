//! Saves an extraction: the adapter and, if wanted, the report, both complete before either appears.

use crate::adapter::{AdapterFormat, StagedAdapter};
use crate::error::{Error, Result};
use crate::jobs::extract::extraction::Extraction;
use crate::report::{PAGE, REPORT, Report, stage_page, stage_report};
use crate::run::monitor::Monitor;
use crate::run::staging::{StagedFile, is_within, parent};
use crate::source::model::Model;
use std::path::{Path, PathBuf};

/// Where an extraction is saved.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Output {
    /// The adapter to create: a directory, or a file where the format is one of files.
    pub path: PathBuf,
    /// The report to create, outside of the adapter.
    pub report: Option<PathBuf>,
    /// How a report whose name ends in .html is drawn; `None`: all reports are JSON.
    pub page: Option<fn(&Report) -> String>,
    /// What was typed, for the report.
    pub command: Option<String>,
    /// The same without paths, for the model card.
    pub asked: Option<String>,
    /// Whether an adapter and a report that are there already are replaced. Anything else never is.
    pub force: bool,
}

impl Output {
    /// An adapter at `path`, without a report; nothing is replaced.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), report: None, page: None, command: None, asked: None, force: false }
    }

    /// The same with a report, or none.
    #[must_use]
    pub fn report(self, report: Option<PathBuf>) -> Self {
        Self { report, ..self }
    }

    /// The same, and how reports whose name ends in .html are drawn.
    #[must_use]
    pub fn page(self, page: fn(&Report) -> String) -> Self {
        Self { page: Some(page), ..self }
    }

    /// The same with what was typed, for the report.
    #[must_use]
    pub fn command(self, command: Option<String>) -> Self {
        Self { command, ..self }
    }

    /// The same with what was asked for, without paths, for the model card.
    #[must_use]
    pub fn asked(self, asked: Option<String>) -> Self {
        Self { asked, ..self }
    }

    /// The same, and whether an adapter and a report that are there already are replaced.
    #[must_use]
    pub fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// The output of the adapter of `rank` among several: `OUTPUT-r8`, and `REPORT-r8.json`.
    pub(crate) fn at_rank(&self, rank: usize) -> Self {
        let tag = format!("r{rank}");
        let report = self.report.as_deref().map(|report| tagged(report, &tag));
        Self { path: tagged(&self.path, &tag), report, ..self.clone() }
    }

    /// The report, among those of several fine-tunes, of the adapter at `adapter`: `REPORT-chat.json` of `adapters/chat`, and of
    /// `adapters/chat.gguf` where `format` is one of files.
    pub fn report_beside(report: &Path, adapter: &Path, format: AdapterFormat) -> PathBuf {
        let name = if format.is_file() { adapter.file_stem() } else { adapter.file_name() };
        tagged(report, &name.unwrap_or_default().to_string_lossy())
    }

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
                return Err(Error::usage("the report may not be inside the adapter".into()));
            }
            let known = if self.page_of(report).is_some() { PAGE } else { REPORT };
            StagedFile::write(report, known, self.force, |_| Ok(()))?;
        }
        monitor.end_writing()
    }

    /// How a report at `path` is drawn, if it is.
    fn page_of(&self, path: &Path) -> Option<fn(&Report) -> String> {
        self.page.filter(|_| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html")))
    }

    /// Refuses an adapter of one file in a directory that stands for one of `models`: it would count as weights of it.
    ///
    /// # Errors
    /// When it is there.
    pub(crate) fn check_apart(&self, format: AdapterFormat, models: &[&Model]) -> Result<()> {
        let directory = parent(&self.path).canonicalize().ok();
        let is_here = |model: &&&Model| {
            let path = model.path();
            path.is_dir() && directory.is_some() && path.canonicalize().ok() == directory
        };
        match models.iter().find(is_here) {
            Some(model) if format.is_file() => Err(Error::usage(format!(
                "{} would lie among the weights of the model {} and count as one of them; choose another place",
                self.path.display(),
                model.path().display()
            ))),
            _ => Ok(()),
        }
    }
}

/// Writes the adapter, in the format of [`ExtractOptions`](crate::ExtractOptions), and the report. Each appears in
/// its place by a rename, after both are complete and synced.
///
/// # Errors
/// When something is there that may not be replaced, a full disk, or [`Error::Cancelled`]; nothing is left behind.
pub fn save(extraction: &Extraction, output: &Output, monitor: &Monitor) -> Result<Report> {
    monitor.begin_writing()?;
    Staged::write(extraction, output, monitor)?.commit()
}

/// An extraction that is written, but not in its place yet.
#[derive(Debug)]
pub(crate) struct Staged {
    adapter: StagedAdapter,
    file: Option<StagedFile>,
    report: Report,
    path: PathBuf,
}

impl Staged {
    pub(crate) fn write(extraction: &Extraction, output: &Output, monitor: &Monitor) -> Result<Self> {
        let lora = extraction.output()?;
        let (adapter, bytes_out) = extraction.format.stage(&lora, &output.path, output.force)?;
        monitor.check()?;
        let mut report = extraction.report(bytes_out);
        if let Some(origin) = &mut report.origin {
            origin.command.clone_from(&output.command);
        }
        adapter.add_card(&output.path, || extraction.card(&report, output.asked.as_deref()))?;
        let stage = |path: &PathBuf| match output.page_of(path) {
            Some(page) => stage_page(&page(&report), path, output.force),
            None => stage_report(&report, path, output.force),
        };
        let file = output.report.as_ref().map(stage).transpose()?;
        monitor.check()?;
        Ok(Self { adapter, file, report, path: output.path.clone() })
    }

    /// Puts it into its place.
    pub(crate) fn commit(self) -> Result<Report> {
        self.adapter.commit()?;
        let path = self.path;
        self.file.map_or(Ok(()), StagedFile::commit).map_err(|error| {
            let problem = format!("the adapter is written and in its place, but its report is not: {error}");
            Error::format(&path, problem)
        })?;
        Ok(self.report)
    }
}

/// `path` with a tag before its extension, if it has one that phlora writes: `adapter-r8.gguf`.
fn tagged(path: &Path, tag: &str) -> PathBuf {
    let path: PathBuf = path.components().collect();
    let known = ["json", "html", "gguf", "safetensors", "phlora"];
    let extension = path.extension().filter(|extension| known.iter().any(|known| *extension == *known));
    let stem = if extension.is_some() { path.with_extension("") } else { path.clone() };
    let mut name = stem.into_os_string();
    name.push(format!("-{tag}"));
    if let Some(extension) = extension {
        name.push(".");
        name.push(extension);
    }
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stand_before_known_extensions() {
        for (path, expected) in [
            ("out", "out-r8"),
            ("out/", "out-r8"),
            ("a.b/out.gguf", "a.b/out-r8.gguf"),
            ("out.v2", "out.v2-r8"),
            ("r.json", "r-r8.json"),
            ("r.html", "r-r8.html"),
        ] {
            assert_eq!(tagged(Path::new(path), "r8"), Path::new(expected));
        }
    }
}
