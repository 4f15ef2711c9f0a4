//! Files on their way to disk while more is written to them: who waits for all of it at the end waits for little.

use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::iter;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Bytes that are written before they are told of.
const STEP: usize = 8 << 20;

/// Lets `fill` write `files` and waits until they are on disk. What `fill` says it has written, by the number of a file, goes
/// there while it computes on; where the system refuses a thread, all goes there in the end. Errors name `target`.
pub(crate) fn synced(
    files: &[File],
    target: &Path,
    fill: impl FnOnce(&(dyn Fn(usize) + Sync)) -> Result<()>,
) -> Result<()> {
    let ((written, queue), given_up) = (channel(), AtomicBool::new(false));
    let given_up = &given_up;
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

/// A file that is written from its beginning to its end, and told of now and then.
pub(crate) struct Announced<'f> {
    file: &'f File,
    tell: &'f dyn Fn(),
    /// Bytes since it was told of.
    untold: usize,
}

impl<'f> Announced<'f> {
    /// Calls `tell` after some bytes of `file` each.
    pub(crate) fn new(file: &'f File, tell: &'f dyn Fn()) -> Self {
        Self { file, tell, untold: 0 }
    }
}

impl Write for Announced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.untold += written;
        if self.untold >= STEP {
            self.untold = 0;
            (self.tell)();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
