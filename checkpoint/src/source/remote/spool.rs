//! The file that what is fetched is spooled to, which is gone with the process: in memory, or without a name in a directory.

use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a file that are given back at once.
const PAGE: u64 = 4096;

/// A file as long as what it stands for, of which only what is written takes space.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    /// The directory, where it is in one.
    directory: Option<PathBuf>,
    length: u64,
}

impl Spool {
    pub(super) fn new(directory: Option<&Path>, length: u64) -> Result<Self, Error> {
        let file = match directory {
            Some(directory) => nameless(directory)?,
            None => in_memory()?,
        };
        let spool = Self { file, directory: directory.map(Path::to_owned), length };
        spool.file.set_len(length).map_err(|error| Error::io(spool.place(), "make room in", error))?;
        Ok(spool)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn place(&self) -> &Path {
        self.directory.as_deref().unwrap_or(Path::new("memory"))
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), String> {
        self.file.write_all_at(bytes, at).map_err(|error| {
            let place = self.place().display();
            format!("cannot write to the spool in {place}: {error}; name a directory with more room for it")
        })
    }

    /// Gives the space of whole pages in `range` back, as far as the system can; they read as zeros then.
    pub(super) fn forget(&self, range: Range<u64>) {
        let start = range.start.next_multiple_of(PAGE);
        // The last page of the file ends with the file.
        let end = if range.end >= self.length { self.length } else { range.end / PAGE * PAGE };
        if start < end {
            self.punch(start, end - start);
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn punch(&self, start: u64, length: u64) {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A file system that cannot keeps the space until the end.
        let _ = fallocate(&self.file, flags, start, length);
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn punch(&self, _start: u64, _length: u64) {}
}

/// The range of whole pages around `range`, from which [`Spool::forget`] takes what is whole.
pub(super) fn pages(range: &Range<u64>) -> Range<u64> {
    range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE)
}

/// A file in `directory` whose name is taken away at once.
fn nameless(directory: &Path) -> Result<File, Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".phlora-spool-{}-{number}", process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(|error| Error::io(&path, "create the spool file", error))?;
    std::fs::remove_file(&path)
        .map_err(|error| Error::io(&path, "remove the name of the spool file", error))?;
    Ok(file)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_memory() -> Result<File, Error> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let file = memfd_create("phlora", MemfdFlags::CLOEXEC);
    file.map(File::from).map_err(|error| Error::io(Path::new("memory"), "make a file in", error.into()))
}

/// Where there are no files in memory, the system's directory for files of a process takes them.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn in_memory() -> Result<File, Error> {
    nameless(&std::env::temp_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn space_is_given_back_and_no_name_stays() {
        let directory = tempfile::tempdir().unwrap();
        for place in [None, Some(directory.path())] {
            let spool = Spool::new(place, 10 * PAGE + 100).unwrap();
            spool.write(PAGE / 2, &vec![7; 9 * PAGE as usize]).unwrap();
            let full = spool.file.metadata().unwrap().blocks();
            spool.forget(PAGE / 2..5 * PAGE + 10);
            let left = spool.file.metadata().unwrap().blocks();
            assert!(full >= 9 * PAGE / 512);
            if cfg!(target_os = "linux") && place.is_none() {
                assert_eq!(full - left, 4 * PAGE / 512);
            }
            let mut bytes = [0; 2];
            spool.file.read_exact_at(&mut bytes, 5 * PAGE + 9).unwrap();
            assert_eq!(bytes, [7, 7]);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}
