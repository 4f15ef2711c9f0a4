//! Copies of the base's files on their way to disk.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::source::model::Model;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A copy of a file of the base.
#[derive(Debug)]
pub(super) struct Copy<'m> {
    /// Where the staged file is.
    path: PathBuf,
    /// What the base's file holds.
    pub(super) bytes: &'m [u8],
    /// Where that goes.
    pub(super) layout: Layout<'m>,
}

impl<'m> Copy<'m> {
    /// Makes the files of all copies, each at its `place`, at full length and with what is not from the base. Errors name
    /// `target`, what they are to become.
    pub(super) fn all(
        base: &'m Model,
        layouts: Vec<Layout<'m>>,
        mut place: impl FnMut(&Path) -> PathBuf,
        target: &Path,
    ) -> Result<Vec<Self>> {
        let failed = |e| Error::io(target, "write", e);
        base.contents()
            .zip(layouts)
            .map(|((source, bytes), layout)| {
                let path = place(source);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(failed)?;
                }
                let file = File::create(&path).map_err(failed)?;
                file.set_len(layout.len as u64).map_err(failed)?;
                let copy = Self { path, bytes, layout };
                copy.layout.own().try_for_each(|(at, bytes)| copy.write(at, bytes)).map_err(failed)?;
                Ok(copy)
            })
            .collect()
    }

    /// Writes `bytes` in the place of those that begin at `offset` in the base's file.
    pub(super) fn put(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.write(self.layout.place(offset), bytes)
    }

    /// Writes `bytes` at `offset`. Each call has its own position in the file, so that threads need no lock.
    fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::options().write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(offset as u64))?;
        file.write_all(bytes)
    }
}

/// Lets `fill` write the files and waits until they are on disk. What `fill` says it has written, by the number of a copy,
/// goes there while it computes on; where the system refuses a thread, all goes there in the end. Errors name `target`.
pub(super) fn synced(
    copies: &[Copy<'_>],
    target: &Path,
    fill: impl FnOnce(&(dyn Fn(usize) + Sync)) -> Result<()>,
) -> Result<()> {
    // One handle per file from first to last: each tells once of what went wrong since it was opened.
    let files = copies.iter().map(|copy| File::options().write(true).open(&copy.path));
    let files = files.collect::<io::Result<Vec<_>>>().map_err(|e| Error::io(target, "write", e))?;
    let ((written, queue), given_up) = (channel(), AtomicBool::new(false));
    let (files, given_up) = (&files, &given_up);
    let synced: io::Result<()> = thread::scope(|scope| {
        let syncing = thread::Builder::new().spawn_scoped(scope, move || sync(files, &queue, given_up));
        let filled = fill(&|number| {
            // Without the other thread, which has failed then, its error is what counts.
            let _ = written.send(number);
        });
        given_up.store(filled.is_err(), Ordering::Relaxed);
        drop(written);
        let failed = |_| Err(io::Error::other("a thread has failed"));
        let synced = syncing.map_or(Ok(()), |syncing| syncing.join().unwrap_or_else(failed));
        filled.map(|()| synced)
    })?;
    synced.and_then(|()| files.iter().try_for_each(File::sync_all)).map_err(|e| Error::io(target, "write", e))
}

/// Brings to disk what `queue` names, until it ends.
fn sync(files: &[File], queue: &Receiver<usize>, given_up: &AtomicBool) -> io::Result<()> {
    while let Ok(first) = queue.recv() {
        let numbers: BTreeSet<usize> = iter::once(first).chain(queue.try_iter()).collect();
        for file in numbers.into_iter().filter_map(|number| files.get(number)) {
            if !given_up.load(Ordering::Relaxed) {
                file.sync_data()?;
            }
        }
    }
    Ok(())
}
