//! One file, written beside its place.

use super::place::{exists, sync_place};
use super::rename;
use super::temporary::{Kind, Temporary, clear};
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 18;

/// A file being built beside `target`; removed when dropped without [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct StagedFile {
    target: PathBuf,
    temporary: Temporary,
    force: bool,
}

/// What a file may be and still be replaced by `force`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// Whether the file at a path is one.
    pub(crate) is: fn(&Path) -> bool,
}

impl StagedFile {
    /// Makes an empty temporary file beside `target`, for who fills and syncs it by its path.
    pub(crate) fn create(target: &Path, known: Known, force: bool) -> Result<Self> {
        clear(target);
        check_file(target, known, force)?;
        let temporary = Temporary::create(target, Kind::File)?;
        Ok(Self { target: target.to_owned(), temporary, force })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Lets `write` fill a temporary file beside `target` and syncs it.
    pub(crate) fn write(
        target: &Path,
        known: Known,
        force: bool,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
    ) -> Result<Self> {
        let staged = Self::create(target, known, force)?;
        fill_synced(staged.path(), target, write)?;
        Ok(staged)
    }

    /// Puts the file in its place.
    pub(crate) fn commit(mut self) -> Result<()> {
        let (from, to) = (self.temporary.path(), &self.target);
        let renamed = if self.force { fs::rename(from, to) } else { rename::to_new(from, to) };
        renamed.map_err(|e| Error::io(&self.target, "create", e))?;
        self.temporary.stay();
        sync_place(&self.target)
    }
}

/// Lets `write` fill the file at `path` and waits until it is on disk. Errors name `target`, what it is to become.
pub(crate) fn fill_synced(
    path: &Path,
    target: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let failed = |e: io::Error| Error::io(target, "write", e);
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path).map_err(failed)?);
    write(&mut file).map_err(|error| match error {
        Error::Io { source, .. } => failed(source),
        other => other,
    })?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)
}

/// Writes a file and waits until it is on disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether a file may be created at `target`.
fn check_file(target: &Path, known: Known, force: bool) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(found) if !found.is_file() => Err(exists(target, "exists and is not a regular file")),
        Ok(_) if !force => Err(exists(target, "exists already; --force replaces it")),
        Ok(found) if found.len() > 0 && !(known.is)(target) => Err(exists(
            target,
            &format!("exists and is not {}; it is not replaced, choose another place", known.name),
        )),
        _ => Ok(()),
    }
}
