//! Jobs over threads: taken in order, results in order, and the same error whatever the number of threads.

use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// What all workers of one run use.
#[derive(Debug)]
pub(crate) struct Pool<'a> {
    monitor: &'a Monitor,
    next: AtomicUsize,
    /// Threads without a job of their own, which running jobs may use for some of their work.
    idle: AtomicUsize,
    /// Lowest job that failed. Later jobs stop; earlier ones go on, since one of them may fail as well and
    /// the error of the lowest is the one reported.
    failed: AtomicUsize,
    /// What each job is expected to cost, and the bytes that it has read; empty where nobody asks.
    costs: &'a [Cost],
    read: Vec<AtomicU64>,
    /// What each has done of the rest.
    computed: Vec<AtomicU64>,
}

/// What a job is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// In bytes read.
    pub(crate) all: u64,
    /// As much of it as is done when all is read.
    pub(crate) reading: u64,
}

/// A job's view of the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket<'a> {
    pool: &'a Pool<'a>,
    job: usize,
}

/// Runs jobs `0..jobs` on at most `threads` threads, the calling one among them. Each worker has its own
/// state `W`, made by `make`.
pub(crate) fn run<W, T: Send>(
    threads: usize,
    jobs: usize,
    monitor: &Monitor,
    make: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Ticket<'_>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    over(threads, jobs, &[], monitor, make, work)
}

/// The same as a round of the monitor: a job for each of `costs`.
pub(crate) fn run_round<W, T: Send>(
    threads: usize,
    costs: &[Cost],
    monitor: &Monitor,
    make: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Ticket<'_>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    monitor.begin_round(costs.len() as u64, costs.iter().map(|cost| cost.all).sum());
    over(threads, costs.len(), costs, monitor, make, work)
}

fn over<W, T: Send>(
    threads: usize,
    jobs: usize,
    costs: &[Cost],
    monitor: &Monitor,
    make: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, Ticket<'_>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let workers = threads.min(jobs).max(1);
    let pool = Pool {
        monitor,
        next: AtomicUsize::new(0),
        idle: AtomicUsize::new(threads - workers.min(threads)),
        failed: AtomicUsize::new(usize::MAX),
        costs,
        read: costs.iter().map(|_| AtomicU64::new(0)).collect(),
        computed: costs.iter().map(|_| AtomicU64::new(0)).collect(),
    };
    let results = Mutex::new(Vec::with_capacity(jobs));
    let worker = || {
        let mut state = make();
        loop {
            let job = pool.next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs || pool.failed.load(Ordering::Relaxed) < job {
                break;
            }
            let result = work(&mut state, Ticket { pool: &pool, job });
            if result.is_err() {
                pool.failed.fetch_min(job, Ordering::Relaxed);
            }
            if let Some((cost, read)) = costs.get(job).zip(pool.read.get(job)) {
                let computed = pool.computed.get(job).map_or(0, |computed| computed.load(Ordering::Relaxed));
                let counted = read.load(Ordering::Relaxed).min(cost.reading).saturating_add(computed);
                monitor.spend(cost.all.saturating_sub(counted), true);
            }
            lock(&results).push((job, result));
        }
        // Its memory goes before others are told that the thread is free.
        drop(state);
        pool.idle.fetch_add(1, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            // Where the system refuses a thread, the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(job, _)| *job);
    results.into_iter().map(|(_, result)| result).collect()
}

impl Ticket<'_> {
    /// The number of this job.
    pub(crate) fn job(&self) -> usize {
        self.job
    }

    /// Bytes that this job has read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.pool.read.get(self.job).map_or(0, |read| read.load(Ordering::Relaxed))
    }

    /// Counts `bytes` as read and says whether to go on.
    pub(crate) fn tick(&self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        self.pool.monitor.add_done(bytes);
        if let Some((cost, read)) = self.pool.costs.get(self.job).zip(self.pool.read.get(self.job)) {
            let before = read.fetch_add(bytes, Ordering::Relaxed);
            let now = before.saturating_add(bytes).min(cost.reading);
            self.pool.monitor.spend(now.saturating_sub(before.min(cost.reading)), false);
        }
        if self.pool.failed.load(Ordering::Relaxed) < self.job {
            return Err(Error::Cancelled);
        }
        self.pool.monitor.check()
    }

    /// Counts `sweeps` of a decomposition: each is taken for a quarter of what is left, since how many there will be is not
    /// known, and the later ones rotate less.
    #[allow(clippy::cast_sign_loss)] // a share of an unsigned number
    pub(crate) fn decomposing(&self, sweeps: f32) {
        let Some((cost, computed)) = self.pool.costs.get(self.job).zip(self.pool.computed.get(self.job))
        else {
            return;
        };
        let rest = cost.all.saturating_sub(cost.reading);
        let now = rest.saturating_sub((rest as f64 * 0.75_f64.powf(f64::from(sweeps))) as u64);
        let before = computed.fetch_max(now, Ordering::Relaxed);
        self.pool.monitor.spend(now.saturating_sub(before), false);
    }

    /// The progress counters.
    pub(crate) fn monitor(&self) -> &Monitor {
        self.pool.monitor
    }

    /// Takes at most `most` idle threads; give them back with [`give_back`](Self::give_back).
    pub(crate) fn borrow_idle(&self, most: usize) -> usize {
        let take = |idle: usize| Some(idle - idle.min(most));
        let idle = self.pool.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        idle.unwrap_or(0).min(most)
    }

    /// Gives threads back.
    pub(crate) fn give_back(&self, threads: usize) {
        self.pool.idle.fetch_add(threads, Ordering::Relaxed);
    }
}

/// Locks, also after a panic elsewhere: what is kept under these locks is whole at any time.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One thread per processor that this process may use.
pub fn available_threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_lowest_error_wins() {
        let monitor = Monitor::default();
        for threads in [1, 2, 5] {
            let all = run(threads, 20, &monitor, || (), |(), ticket| Ok(ticket.job() * 2)).unwrap();
            assert_eq!(all, (0..20).map(|i| i * 2).collect::<Vec<_>>());
            let error = run(
                threads,
                20,
                &monitor,
                || (),
                |(), ticket| match ticket.job() {
                    7 | 3 | 12 => Err(Error::usage(ticket.job().to_string())),
                    job => Ok(job),
                },
            );
            assert_eq!(error.unwrap_err().to_string(), "3");
        }
    }

    #[test]
    fn a_round_ends_at_its_cost_however_much_is_read() {
        let monitor = Monitor::default();
        let costs =
            [Cost { all: 100, reading: 90 }, Cost { all: 10, reading: 1 }, Cost { all: 7, reading: 7 }];
        let work = |(): &mut (), ticket: Ticket<'_>| {
            ticket.tick(60)?;
            for sweeps in [0.5, 3.0, 2.0, 40.0] {
                ticket.decomposing(sweeps);
            }
            ticket.tick(60)
        };
        run_round(2, &costs, &monitor, || (), work).unwrap();
        let state = monitor.state();
        assert_eq!((state.jobs, state.finished, state.done, state.total), (3, 3, 117, 117));
    }

    #[test]
    fn a_decomposition_moves_on_within_its_cost() {
        let monitor = Monitor::default();
        let costs = [Cost { all: 1000, reading: 100 }];
        let work = |(): &mut (), ticket: Ticket<'_>| {
            ticket.tick(500)?;
            let state = || monitor.state().done;
            let mut seen = vec![state()];
            for sweeps in [0.0, 0.25, 1.0, 2.5, 12.0] {
                ticket.decomposing(sweeps);
                seen.push(state());
            }
            Ok(seen)
        };
        let seen = run_round(1, &costs, &monitor, || (), work).unwrap().remove(0);
        assert_eq!(seen[0], 100);
        assert!(seen.is_sorted() && seen[2] > 100 && seen[5] > 950 && seen[5] <= 1000, "{seen:?}");
        assert_eq!(monitor.state().done, 1000);
    }

    #[test]
    fn idle_threads_are_lent_once() {
        let monitor = Monitor::default();
        let lent = run(
            4,
            1,
            &monitor,
            || (),
            |(), ticket| {
                let first = ticket.borrow_idle(2);
                let second = ticket.borrow_idle(9);
                ticket.give_back(first + second);
                Ok((first, second, ticket.borrow_idle(9)))
            },
        );
        assert_eq!(lent.unwrap(), [(2, 1, 3)]);
    }
}
