//! The place of an output: its directory, and what is said of it.

use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::path::Path;

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether `path` would lie in `directory` or be it, whatever way either is written.
pub(crate) fn is_within(path: &Path, directory: &Path) -> bool {
    let resolved = |path: &Path| Some(parent(path).canonicalize().ok()?.join(path.file_name()?));
    match (resolved(path), resolved(directory)) {
        (Some(path), Some(directory)) => path.starts_with(directory),
        // Where the directory of the report is not there yet, it may be the one to be created.
        _ => path.starts_with(directory),
    }
}

/// Makes a rename in a directory last through a power cut, where the system can.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let unsupported = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
    match File::open(path)?.sync_all() {
        // Some file systems do not know what to do with a directory.
        Err(error) if unsupported.contains(&error.kind()) => Ok(()),
        result => result,
    }
}

/// Syncs the directory of an output that is in its place already.
pub(super) fn sync_place(target: &Path) -> Result<()> {
    sync_directory(parent(target)).map_err(|error| {
        let problem = format!(
            "is in its place, but a power cut may undo that: its directory cannot be synced: {error}"
        );
        Error::format(target, problem)
    })
}

pub(super) fn exists(path: &Path, problem: &str) -> Error {
    Error::Exists { path: path.to_owned(), problem: problem.to_owned() }
}
