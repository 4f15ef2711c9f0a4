//! The progress bar: bytes read, rate and remaining time, drawn by a thread that polls the monitor.

use indicatif::{ProgressBar, ProgressStyle};
use phlora::Monitor;
use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const TEMPLATE: &str = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";

/// Runs `work` with a bar on stderr, unless that is no terminal or `quiet`.
pub fn with_bar<T>(monitor: &Monitor, title: &'static str, quiet: bool, work: impl FnOnce() -> T) -> T {
    if quiet || !io::stderr().is_terminal() {
        return work();
    }
    let (done, stop) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let bar = ProgressBar::new(0).with_prefix(title);
            bar.set_style(
                ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            while let Err(mpsc::RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(100)) {
                bar.set_length(monitor.total());
                bar.set_position(monitor.done());
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(done);
        result
    })
}
