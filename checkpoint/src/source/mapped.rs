//! A read-only file mapped into memory: the pages come from disk as they are touched, never all at once.

use crate::error::{Error, Result};
#[cfg(unix)]
use memmap2::Advice;
use memmap2::Mmap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A mapped file and the path it was opened by.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    /// `None` for an empty file, which cannot be mapped everywhere.
    map: Option<Mmap>,
}

impl Mapped {
    /// Maps `path`, which must be a regular file.
    #[allow(unsafe_code)]
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, length) = open_regular(path)?;
        if length == 0 {
            return Ok(Self { path: path.to_owned(), map: None });
        }
        // SAFETY: the map is read-only and private to this value, and every read of it is of plain bytes, of
        // which all values are valid. What remains is another process that changes the file meanwhile: that
        // can change the numbers, or end this process by a signal when the file shrinks, as for every reader
        // of mapped files. Nothing is written to inputs here, and outputs are renamed over, not rewritten.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, "map", e))?;
        Ok(Self { path: path.to_owned(), map: Some(map) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the system to bring `range` into memory meanwhile. A system that does not reads when touched.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            let _ = map.advise_range(Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

/// Opens `path`, which must be a regular file, and gives its length.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    // Before the open, which would wait for the other end of a named pipe.
    if !fs::metadata(path).map_err(|e| Error::io(path, "open", e))?.is_file() {
        return Err(Error::format(path, "not a regular file"));
    }
    let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    let length = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
    Ok((file, length))
}
