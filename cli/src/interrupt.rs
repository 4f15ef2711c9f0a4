//! Ctrl-C: stops the job; while it writes, the job cleans up first.

use crate::destination;
use crate::failure::{INTERRUPTED, complain};
use crate::progress;
use phlora::Monitor;
use std::process;
use std::sync::Arc;

/// A monitor that Ctrl-C (and a request to terminate) cancels.
pub fn monitor() -> Arc<Monitor> {
    let monitor = Arc::new(Monitor::default());
    let cancelled = Arc::clone(&monitor);
    let handler = move || {
        // A decomposition in work may take a while to notice. Where nothing is on disk, nothing is lost.
        if cancelled.cancel() {
            progress::clear();
            destination::clear();
            complain("cancelled; the output was not written");
            process::exit(i32::from(INTERRUPTED));
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        complain(&format!("Ctrl-C will not clean up: {error}"));
    }
    monitor
}
