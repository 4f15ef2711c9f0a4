//! Progress and cancelling of a running job: plain counters, polled by whoever shows them.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const RUNNING: u8 = 0;
/// Files may exist that have to be removed when the job stops.
const WRITING: u8 = 1;
const CANCELLED: u8 = 2;
const CANCELLED_WRITING: u8 = 3;

/// Progress in bytes and a cancel flag, used by all threads by reference.
#[derive(Debug, Default)]
pub struct Monitor {
    done: AtomicU64,
    total: AtomicU64,
    phase: AtomicU8,
    round: Round,
}

/// The round that the job is in.
#[derive(Debug, Default)]
struct Round {
    number: AtomicU64,
    jobs: AtomicU64,
    finished: AtomicU64,
    cost: AtomicU64,
    spent: AtomicU64,
}

/// How far a job has come: for a bar, whose end does not move while a round lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct State {
    /// The round, from 1: a goal that chooses ranks by all modules takes several. 0: the job has none.
    pub round: u64,
    /// Tensors of this round.
    pub jobs: u64,
    /// How many of them are finished.
    pub finished: u64,
    /// Work done in this round, in units of [`total`](Self::total).
    pub done: u64,
    /// Work of this round.
    pub total: u64,
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

    /// How far the job has come: by tensors, each as heavy as what it is expected to take, or by bytes where the job has
    /// no rounds.
    pub fn state(&self) -> State {
        let Round { number, jobs, finished, cost, spent } = &self.round;
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        match get(number) {
            0 => State { done: self.done(), total: self.total(), ..State::default() },
            round => {
                State { round, jobs: get(jobs), finished: get(finished), done: get(spent), total: get(cost) }
            }
        }
    }

    /// Begins a round of `jobs` that take `cost` together.
    pub(crate) fn begin_round(&self, jobs: u64, cost: u64) {
        let round = &self.round;
        for (number, value) in
            [(&round.spent, 0), (&round.finished, 0), (&round.jobs, jobs), (&round.cost, cost)]
        {
            number.store(value, Ordering::Relaxed);
        }
        round.number.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts work of the round, and whether a job is finished by it.
    pub(crate) fn spend(&self, work: u64, finished: bool) {
        self.round.spent.fetch_add(work, Ordering::Relaxed);
        self.round.finished.fetch_add(u64::from(finished), Ordering::Relaxed);
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
    fn the_end_of_a_round_does_not_move() {
        let monitor = Monitor::default();
        monitor.correct_total(0, 7);
        monitor.add_done(3);
        assert_eq!(monitor.state(), State { done: 3, total: 7, ..State::default() });
        monitor.begin_round(2, 10);
        monitor.spend(4, false);
        monitor.spend(2, true);
        let first = monitor.state();
        monitor.correct_total(0, 100);
        assert_eq!(monitor.state(), first);
        assert_eq!(first, State { round: 1, jobs: 2, finished: 1, done: 6, total: 10 });
        monitor.begin_round(1, 5);
        assert_eq!(monitor.state(), State { round: 2, jobs: 1, finished: 0, done: 0, total: 5 });
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
