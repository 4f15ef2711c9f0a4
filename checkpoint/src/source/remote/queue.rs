//! The requests of all files, over as many threads as there may be connections.

use super::settings::connections;
use crate::run::pool::lock;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Bytes of one request. The time until a server answers is lost once for each.
const REQUEST: u64 = 16 << 20;

/// A file that is fetched in ranges.
pub(super) trait Source: Debug + Send + Sync {
    /// Fetches `range`, unless nobody waits for it any more. Called by the threads of the queue.
    fn fetch(&self, range: Range<u64>);

    /// Tells those who wait for `range` why it is not fetched.
    fn refuse(&self, range: Range<u64>, why: &str);
}

/// What is to be fetched, the first first.
#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<(Arc<dyn Source>, Range<u64>)>,
    threads: usize,
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { requests: VecDeque::new(), threads: 0, idle: 0 });
static MORE: Condvar = Condvar::new();

/// Fetches `range` of a file, by several requests, after all that was asked for before.
pub(super) fn fetch(source: &Arc<impl Source + 'static>, range: Range<u64>) {
    let mut queue = lock(&QUEUE);
    let count = (range.end - range.start).div_ceil(REQUEST).max(1);
    // Equal requests, so that none is a remainder of a few bytes.
    let size = (range.end - range.start).div_ceil(count);
    for number in 0..count {
        let start = range.start + number * size;
        queue.requests.push_back((Arc::clone(source) as Arc<dyn Source>, start..range.end.min(start + size)));
    }
    while queue.threads < connections() && queue.idle < queue.requests.len() {
        let started = thread::Builder::new().name("fetch".into()).spawn(work);
        if started.is_err() {
            break;
        }
        queue.threads += 1;
        queue.idle += 1;
    }
    if queue.threads == 0 {
        // The system refuses threads: whoever waits learns it.
        for (source, range) in std::mem::take(&mut queue.requests) {
            source.refuse(range, "the system gives no thread to fetch it");
        }
    }
    drop(queue);
    MORE.notify_all();
}

/// What each thread does until the process ends.
fn work() {
    let mut queue = lock(&QUEUE);
    loop {
        let Some((source, range)) = queue.requests.pop_front() else {
            queue = MORE.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        queue.idle -= 1;
        drop(queue);
        source.fetch(range);
        drop(source);
        queue = lock(&QUEUE);
        queue.idle += 1;
    }
}
