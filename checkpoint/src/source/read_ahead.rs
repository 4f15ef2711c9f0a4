//! A thread that reads the tensors of coming jobs into the page cache, in their order, while others compute.
//!
//! Advice alone is not enough: systems follow it for a fraction of a large tensor. And whoever computes does not read in
//! order, so that the disk would be asked for scattered pieces.

use crate::run::monitor::Monitor;
use crate::run::pool::lock;
use crate::source::tensor::Tensor;
use std::hint::black_box;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes of a side that are asked for, or waited for, before some of the other side are: as many as systems follow advice for.
const ADVISED_BYTES: usize = 128 << 10;

/// Bytes from one touch to the next: no page is smaller.
const PAGE: usize = 4096;

/// Bytes that are read beyond the jobs that have started, at most: a small device must not lose them again before they are
/// used.
const AHEAD: usize = 256 << 20;

/// How far the reading has come.
#[derive(Debug, Default)]
struct Progress {
    /// Jobs that have started, the first ones.
    started: usize,
    /// Jobs that were read, the first ones.
    done: usize,
    /// Nothing more will be read.
    over: bool,
}

/// Jobs that are read ahead.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl ReadAhead {
    /// Calls `work` while another thread reads both sides of the jobs, somewhat further than those that have
    /// [started](Self::start). Where the system refuses a thread, they are read when they are touched.
    pub(crate) fn beside<T>(jobs: &[[Tensor<'_>; 2]], monitor: &Monitor, work: impl FnOnce(&Self) -> T) -> T {
        let ahead = Self::default();
        thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, || ahead.read(jobs, monitor));
            let _end = End(&ahead);
            if reader.is_err() {
                ahead.end();
            }
            work(&ahead)
        })
    }

    /// Waits until job `job`, which starts, is in memory.
    pub(crate) fn start(&self, job: usize) {
        let mut progress = lock(&self.progress);
        progress.started = progress.started.max(job + 1);
        self.changed.notify_all();
        drop(self.wait_while(progress, |progress| progress.done <= job));
    }

    /// Nothing more will be read.
    fn end(&self) {
        lock(&self.progress).over = true;
        self.changed.notify_all();
    }

    /// Waits while `waits` holds, at most until the reading ends.
    fn wait_while<'p>(
        &self,
        mut progress: MutexGuard<'p, Progress>,
        waits: impl Fn(&Progress) -> bool,
    ) -> MutexGuard<'p, Progress> {
        while waits(&progress) && !progress.over {
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress
    }

    /// The reading thread.
    fn read(&self, jobs: &[[Tensor<'_>; 2]], monitor: &Monitor) {
        let _end = End(self);
        // Bytes of the first jobs, by their number.
        let mut bytes = vec![0; jobs.len() + 1];
        for (job, sides) in jobs.iter().enumerate() {
            bytes[job + 1] = bytes[job] + sides.iter().map(Tensor::byte_len).sum::<usize>();
        }
        let is_near = |job: usize, started: usize| job < started || bytes[job + 1] - bytes[started] <= AHEAD;
        let mut asked = 0;
        for (job, sides) in jobs.iter().enumerate() {
            let progress = self.wait_while(lock(&self.progress), |progress| !is_near(job, progress.started));
            if progress.over {
                return;
            }
            let started = progress.started;
            drop(progress);
            // One job more than is waited for, so that the disk always has something to do.
            while asked <= job || asked == job + 1 && asked < jobs.len() && is_near(asked, started) {
                ask(&jobs[asked]);
                asked += 1;
            }
            let [mut base, mut tuned] = sides.map(|side| side.chunks(ADVISED_BYTES));
            loop {
                let pieces = [base.next(), tuned.next()];
                if pieces == [None; 2] {
                    break;
                }
                if monitor.check().is_err() {
                    return;
                }
                pieces.into_iter().flatten().for_each(touch);
            }
            lock(&self.progress).done = job + 1;
            self.changed.notify_all();
        }
    }
}

/// Ends the reading, also where a thread panics.
struct End<'a>(&'a ReadAhead);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Asks the system for both sides, which it reads on its own.
fn ask(sides: &[Tensor<'_>; 2]) {
    let most = sides.iter().map(Tensor::byte_len).max().unwrap_or(0);
    for start in (0..most).step_by(ADVISED_BYTES) {
        for side in sides {
            side.will_need(start..start + ADVISED_BYTES);
        }
    }
}

/// Looks at every page.
fn touch(bytes: &[u8]) {
    black_box(bytes.iter().step_by(PAGE).fold(0, |sum, byte| sum ^ byte));
}
