//! Progress and cancelling of a running job: plain counters, polled by whoever shows them.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const RUNNING: u8 = 0;
/// Files may exist that have to be removed when the job stops.
const WRITING: u8 = 1;
const CANCELLED: u8 = 2;
const CANCELLED_WRITING: u8 = 3;

/// Progress in bytes and a cancel flag, shared by reference between threads.
#[derive(Debug, Default)]
pub struct Monitor {
    done: AtomicU64,
    total: AtomicU64,
    phase: AtomicU8,
}

impl Monitor {
    /// Bytes read so far, of both sides, every read counted.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes that will have been read at the end: an estimate that the job corrects, since the number of
    /// reads adapts to the data.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Asks the job to stop with [`Error::Cancelled`]. Returns whether the job has nothing on disk and will
    /// not create anything any more, so that the process may end at once.
    pub fn cancel(&self) -> bool {
        let step = |phase| match phase {
            RUNNING => Some(CANCELLED),
            WRITING => Some(CANCELLED_WRITING),
            _ => None,
        };
        match self.phase.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) {
            Ok(before) => before == RUNNING,
            Err(now) => now == CANCELLED,
        }
    }

    /// [`Error::Cancelled`] once [`cancel`](Self::cancel) was called.
    pub(crate) fn check(&self) -> Result<()> {
        if self.phase.load(Ordering::SeqCst) >= CANCELLED { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Marks that files are about to be created; refused after a cancel.
    pub(crate) fn begin_writing(&self) -> Result<()> {
        match self.phase.compare_exchange(RUNNING, WRITING, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) | Err(WRITING) => Ok(()),
            Err(_) => Err(Error::Cancelled),
        }
    }

    /// Marks that nothing is on disk any more; refused after a cancel meanwhile.
    pub(crate) fn end_writing(&self) -> Result<()> {
        match self.phase.compare_exchange(WRITING, RUNNING, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Cancelled),
        }
    }

    pub(crate) fn add_done(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Replaces an estimate of `before` bytes within the total by `after`.
    pub(crate) fn correct_total(&self, before: u64, after: u64) {
        // Wrapping, so one addition does for both signs.
        self.total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_before_writing_keeps_writing_from_beginning() {
        let monitor = Monitor::default();
        assert!(monitor.cancel());
        assert!(monitor.cancel());
        assert!(matches!(monitor.begin_writing(), Err(Error::Cancelled)));
    }

    #[test]
    fn a_cancel_while_writing_leaves_the_end_to_the_writer() {
        let monitor = Monitor::default();
        monitor.begin_writing().unwrap();
        assert!(!monitor.cancel());
        assert!(matches!(monitor.check(), Err(Error::Cancelled)));
        assert!(!monitor.cancel());
    }
}
