//! Copies of the base's files on their way to disk.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::syncing;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A copy of a file of the base.
#[derive(Debug)]
pub(super) struct Copy<'m> {
    /// Where the staged file is.
    path: PathBuf,
    /// What the base's file holds.
    pub(super) bytes: &'m [u8],
}

impl<'m> Copy<'m> {
    /// Makes the files of all copies, each at its `place` and full length. Errors name `target`, what they are to become.
    pub(super) fn all(
        base: &'m Model,
        mut place: impl FnMut(&Path) -> PathBuf,
        target: &Path,
    ) -> Result<Vec<Self>> {
        let failed = |e| Error::io(target, "write", e);
        base.contents()
            .map(|(source, bytes)| {
                let path = place(source);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(failed)?;
                }
                let file = File::create(&path).map_err(failed)?;
                file.set_len(bytes.len() as u64).map_err(failed)?;
                Ok(Self { path, bytes })
            })
            .collect()
    }

    /// Writes `bytes` at `offset`. Each call has its own position in the file, so that threads need no lock.
    pub(super) fn put(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(offset as u64))?;
        file.write_all(bytes)
    }
}

/// Lets `fill` write the files, as [`synced`](crate::syncing::synced) has it, by the number of a copy.
pub(super) fn synced(
    copies: &[Copy<'_>],
    target: &Path,
    fill: impl FnOnce(&(dyn Fn(usize) + Sync)) -> Result<()>,
) -> Result<()> {
    // One handle per file from first to last: each tells once of what went wrong since it was opened.
    let files = copies.iter().map(|copy| File::options().write(true).open(&copy.path));
    let files = files.collect::<io::Result<Vec<_>>>().map_err(|e| Error::io(target, "write", e))?;
    syncing::synced(&files, target, fill)
}
