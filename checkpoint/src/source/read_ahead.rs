//! A thread that reads the tensors of coming jobs into the page cache, in their order, while others compute.
//!
//! Advice alone is not enough: systems follow it for a fraction of a large tensor. And whoever computes does not read in
//! order, so that the disk would be asked for scattered bytes.

use crate::error::Result;
use crate::run::monitor::Monitor;
use crate::run::pool::lock;
use crate::source::common::{Jobs, Lent};
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
pub(crate) const MOST_AHEAD: usize = 256 << 20;

/// How far the reading has come.
#[derive(Debug, Default)]
struct Progress<'m> {
    /// Jobs that have started, the first ones.
    started: usize,
    /// Jobs that were read, the first ones.
    done: usize,
    /// Nothing more will be read.
    over: bool,
    /// What is on its way from addresses, or why it is not, for jobs that have not started, by their number.
    asked: Vec<Option<Result<Lent<'m>>>>,
    /// Nothing more will be asked for.
    all_asked: bool,
    /// No job will start any more.
    closed: bool,
}

/// Jobs that are read ahead.
#[derive(Debug)]
pub(crate) struct ReadAhead<'m> {
    /// The weights of each.
    jobs: Jobs<'m>,
    /// Bytes to read ahead of the jobs that have started.
    most: usize,
    progress: Mutex<Progress<'m>>,
    changed: Condvar,
}

impl<'m> ReadAhead<'m> {
    /// Calls `work` while another thread reads the weights of the jobs, somewhat further than those that have
    /// [started](Self::start), at most `most` bytes, and a third one asks for those at addresses, as far as there is room. Where
    /// the system refuses a thread, they are read when they are touched.
    pub(crate) fn beside<T>(
        jobs: &[Vec<Tensor<'m>>],
        most: usize,
        monitor: &Monitor,
        work: impl FnOnce(&Self) -> T,
    ) -> T {
        let mut progress = Progress::default();
        progress.asked.resize_with(jobs.len(), || None);
        progress.all_asked = jobs.iter().flatten().all(|tensor| !tensor.is_remote());
        let remote = !progress.all_asked;
        let jobs = Jobs::new(jobs);
        let ahead = Self { jobs, most, progress: Mutex::new(progress), changed: Condvar::new() };
        thread::scope(|scope| {
            let _close = Finally(|| ahead.close());
            if thread::Builder::new().spawn_scoped(scope, || ahead.read(monitor)).is_err() {
                ahead.tell(|progress| progress.over = true);
            }
            if remote && thread::Builder::new().spawn_scoped(scope, || ahead.ask_all(monitor)).is_err() {
                ahead.tell(|progress| progress.all_asked = true);
            }
            work(&ahead)
        })
    }

    /// Waits until the weights of job `job`, which starts, are in memory or on their way from addresses, which is to be
    /// [waited](Lent::wait) for. They stay until what this gives is dropped. Every job is to be started.
    pub(crate) fn start(&self, job: usize) -> Result<Lent<'m>> {
        let mut progress = lock(&self.progress);
        progress.started = progress.started.max(job + 1);
        self.changed.notify_all();
        progress = self.wait_while(progress, |progress| progress.done <= job && !progress.over);
        // What has nothing at an address does not wait for what may have no room before it ends.
        let remote = self.jobs.is_remote(job);
        let waits = |progress: &Progress<'m>| remote && progress.asked[job].is_none() && !progress.all_asked;
        progress = self.wait_while(progress, waits);
        let asked = progress.asked[job].take();
        drop(progress);
        match asked {
            Some(asked) => asked,
            None if remote => self.jobs.ask_alone(job),
            None => self.jobs.ask(job),
        }
    }

    /// Changes the progress and wakes those who wait for it.
    fn tell(&self, change: impl FnOnce(&mut Progress<'m>)) {
        change(&mut lock(&self.progress));
        self.changed.notify_all();
    }

    /// No job will start any more: what was asked for is given back.
    fn close(&self) {
        let mut progress = lock(&self.progress);
        (progress.over, progress.closed) = (true, true);
        let asked = std::mem::take(&mut progress.asked);
        drop(progress);
        self.changed.notify_all();
        drop(asked);
    }

    /// Waits while `waits` holds.
    fn wait_while<'p>(
        &self,
        mut progress: MutexGuard<'p, Progress<'m>>,
        waits: impl Fn(&Progress<'m>) -> bool,
    ) -> MutexGuard<'p, Progress<'m>> {
        while waits(&progress) {
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress
    }

    /// The thread that asks for weights at addresses.
    fn ask_all(&self, monitor: &Monitor) {
        let _end = Finally(|| self.tell(|progress| progress.all_asked = true));
        for job in (0..self.jobs.len()).filter(|&job| self.jobs.is_remote(job)) {
            let held = self.jobs.ask(job);
            let cancelled = monitor.check().is_err();
            let mut progress = lock(&self.progress);
            // A job that started before is none: it waits for this.
            if progress.closed {
                drop(progress);
                return;
            }
            progress.asked[job] = Some(held);
            drop(progress);
            self.changed.notify_all();
            if cancelled {
                return;
            }
        }
    }

    /// The thread that reads files.
    fn read(&self, monitor: &Monitor) {
        let _end = Finally(|| self.tell(|progress| progress.over = true));
        let jobs = &self.jobs;
        let files = |job: usize| jobs.new_in(job).filter(|tensor| !tensor.is_remote());
        let count = self.jobs.len();
        // Bytes of the first jobs, by their number.
        let mut bytes = vec![0; count + 1];
        for job in 0..count {
            bytes[job + 1] = bytes[job] + files(job).map(Tensor::byte_len).sum::<usize>();
        }
        let is_near =
            |job: usize, started: usize| job < started || bytes[job + 1] - bytes[started] <= self.most;
        let mut asked = 0;
        for job in 0..count {
            let waits = |progress: &Progress<'m>| !is_near(job, progress.started) && !progress.over;
            let progress = self.wait_while(lock(&self.progress), waits);
            if progress.over {
                return;
            }
            let started = progress.started;
            drop(progress);
            // One job more than is waited for, so that the disk always has something to do.
            while asked <= job || asked == job + 1 && asked < count && is_near(asked, started) {
                ask(&files(asked));
                asked += 1;
            }
            let mut sides: Vec<_> = files(job).map(|side| side.bytes_by(ADVISED_BYTES)).collect();
            loop {
                let mut rest = false;
                for bytes in sides.iter_mut().filter_map(Iterator::next) {
                    touch(bytes);
                    rest = true;
                }
                if !rest {
                    break;
                }
                if monitor.check().is_err() {
                    return;
                }
            }
            self.tell(|progress| progress.done = job + 1);
        }
    }
}

/// Does something in the end, also where a thread panics.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Asks the system for all sides, which it reads on its own.
fn ask<'t, 'm: 't>(sides: &(impl Iterator<Item = &'t Tensor<'m>> + Clone)) {
    let most = sides.clone().map(Tensor::byte_len).max().unwrap_or(0);
    for start in (0..most).step_by(ADVISED_BYTES) {
        for side in sides.clone() {
            side.will_need(start..start + ADVISED_BYTES);
        }
    }
}

/// Looks at every page.
fn touch(bytes: &[u8]) {
    black_box(bytes.iter().step_by(PAGE).fold(0, |sum, byte| sum ^ byte));
}
