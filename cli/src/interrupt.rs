//! Ctrl-C: stops the job; while it writes, the job cleans up first.

use crate::destination;
use crate::failure::{INTERRUPTED, complain};
use crate::progress;
use phlora::Monitor;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that keep what is found until the output is there.
static PARTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on, what is found is kept in `parts`.
pub fn keeps(parts: Vec<PathBuf>) {
    *PARTS.lock().unwrap_or_else(PoisonError::into_inner) = parts;
}

/// What is said after Ctrl-C.
pub fn cancelled() -> String {
    let parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut kept = parts.iter().filter(|part| part.exists());
    match (kept.next(), kept.next()) {
        (None, _) => "cancelled; the output was not written".to_owned(),
        (Some(part), more) => {
            let others = if more.is_some() { " and others beside it" } else { "" };
            let part = part.display();
            format!(
                "cancelled; what is finished is kept in {part}{others}: the same command goes on from there, with --fresh it \
                 starts again"
            )
        }
    }
}

/// A monitor of what is written in an instant after a job.
pub fn writing() -> Monitor {
    Monitor::default()
}

/// A monitor that Ctrl-C (and a request to terminate) cancels.
pub fn monitor() -> Arc<Monitor> {
    let monitor = Arc::new(Monitor::default());
    let stopped = Arc::clone(&monitor);
    let handler = move || {
        // A decomposition in work may take a while to notice. Where nothing is on disk, nothing is lost.
        if stopped.cancel() {
            progress::clear();
            destination::clear();
            complain(&cancelled());
            process::exit(i32::from(INTERRUPTED));
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        complain(&format!("Ctrl-C will not clean up: {error}"));
    }
    monitor
}
