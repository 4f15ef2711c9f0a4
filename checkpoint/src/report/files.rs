//! Reports on disk: their JSON files and their pages.

use super::{Report, is_report};
use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use crate::run::staging::{Known, StagedFile};
use crate::source::json_file::read_json;
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// What the head of a report's page holds: the beginning of its generator's name.
const PAGE_MARK: &str = "<meta name=\"generator\" content=\"phlora report ";

/// Bytes of a page's head.
const HEAD: u64 = 1024;

/// A JSON file.
pub(crate) const REPORT: Known =
    Known { name: "a report of phlora", is: |path| read_json(path).is_ok_and(|json| is_report(json.root())) };

/// A page.
pub(crate) const PAGE: Known = Known { name: "the page of a report", is: is_page };

/// Writes a report alone.
///
/// # Errors
/// When something else than a report is there, or a report is and `force` is not set; a full disk;
/// [`Error::Cancelled`].
pub fn save_report(report: &Report, path: &Path, force: bool, monitor: &Monitor) -> Result<()> {
    monitor.begin_writing()?;
    stage_report(report, path, force)?.commit()
}

/// Writes a comparison of adapters, as JSON.
///
/// # Errors
/// As [`save_report`].
pub fn save_adapter_diff(diff: &impl Serialize, path: &Path, force: bool, monitor: &Monitor) -> Result<()> {
    monitor.begin_writing()?;
    stage_json(diff, path, force)?.commit()
}

/// Writes a page of a report, `html`, to `path`.
///
/// # Errors
/// When something else than a page of phlora is there, or one is and `force` is not set; a full disk;
/// [`Error::Cancelled`].
pub fn save_page(html: &str, path: &Path, force: bool, monitor: &Monitor) -> Result<()> {
    monitor.begin_writing()?;
    stage_page(html, path, force)?.commit()
}

/// The first line of a Modelfile of phlora's.
const MODELFILE_MARK: &str = "# Written by phlora, for Ollama.\n";

/// A Modelfile.
const MODELFILE: Known = Known { name: "a Modelfile of phlora", is: is_modelfile };

/// Tries whether [`save_modelfile`] can write `from` to `path`, before the adapter is made; leaves nothing behind.
///
/// # Errors
/// As [`save_modelfile`].
pub fn check_modelfile(from: &str, path: &Path, force: bool) -> Result<()> {
    check_line(from)?;
    StagedFile::write(path, MODELFILE, force, |_| Ok(())).map(drop)
}

fn check_line(text: &str) -> Result<()> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err(Error::usage(format!(
            "{text:?} is no name for a Modelfile, which has one line for each"
        )));
    }
    Ok(())
}

/// Writes Ollama's Modelfile for a GGUF adapter to `path`: `from` is a model of Ollama's or the file of the base, `adapter`
/// the adapter's path as the Modelfile is to have it.
///
/// # Errors
/// When a name has more than one line, something else than a Modelfile of phlora is there, or one is and `force` is not set; a
/// full disk; [`Error::Cancelled`].
pub fn save_modelfile(from: &str, adapter: &str, path: &Path, force: bool, monitor: &Monitor) -> Result<()> {
    check_line(from)?;
    check_line(adapter)?;
    monitor.begin_writing()?;
    let text = format!("{MODELFILE_MARK}FROM {from}\nADAPTER {adapter}\n");
    let failed = |e| Error::io(path, "write", e);
    StagedFile::write(path, MODELFILE, force, |file| file.write_all(text.as_bytes()).map_err(failed))?
        .commit()
}

fn is_modelfile(path: &Path) -> bool {
    let mut head = vec![0; MODELFILE_MARK.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == MODELFILE_MARK.as_bytes()
}

/// Writes a page beside its place.
pub(crate) fn stage_page(html: &str, path: &Path, force: bool) -> Result<StagedFile> {
    let failed = |e| Error::io(path, "write", e);
    StagedFile::write(path, PAGE, force, |file| file.write_all(html.as_bytes()).map_err(failed))
}

/// Writes a report beside its place.
pub(crate) fn stage_report(report: &Report, path: &Path, force: bool) -> Result<StagedFile> {
    stage_json(report, path, force)
}

fn stage_json(report: &impl Serialize, path: &Path, force: bool) -> Result<StagedFile> {
    let mut json = serde_json::to_vec_pretty(report).unwrap_or_default();
    json.push(b'\n');
    let failed = |e| Error::io(path, "write", e);
    StagedFile::write(path, REPORT, force, |file| file.write_all(&json).map_err(failed))
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
