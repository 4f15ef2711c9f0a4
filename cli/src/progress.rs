//! The progress bar: modules, bytes read and remaining time, drawn by a thread that polls the monitor.

use crate::print::bytes;
use crate::say;
use indicatif::{ProgressBar, ProgressStyle};
use phlora::Monitor;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use terminal_size::{Width, terminal_size_of};

/// The bar that is on the screen.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Narrower terminals get the short form.
const NARROW: u16 = 50;
const LONG: &str = "{prefix} {spinner} {wide_bar} {percent:>3} % {msg} {eta} left";
const SHORT: &str = "{spinner} {percent:>3} % {msg}";

/// Runs `work` with a bar on stderr, unless that is no terminal or nothing is to be said.
pub fn with_bar<T>(monitor: &Monitor, title: &'static str, silent: bool, work: impl FnOnce() -> T) -> T {
    if silent || say::is_quiet() || !io::stderr().is_terminal() {
        return work();
    }
    let (done, stop) = mpsc::channel::<()>();
    *bar() = Some(ProgressBar::new(0).with_prefix(title));
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut narrow = None;
            while let Err(mpsc::RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_millis(100)) {
                let held = bar();
                let Some(bar) = held.as_ref() else { break };
                let now = terminal_size_of(io::stderr()).is_some_and(|(Width(width), _)| width < NARROW);
                if narrow.replace(now) != Some(now) {
                    let template = if now { SHORT } else { LONG };
                    let style = ProgressStyle::with_template(template);
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
                draw(bar, monitor, title, now);
            }
        });
        let result = work();
        drop(done);
        clear();
        result
    })
}

/// Brings the bar to where the work is.
fn draw(bar: &ProgressBar, monitor: &Monitor, title: &str, narrow: bool) {
    let state = monitor.state();
    bar.set_prefix(if state.round > 1 {
        format!("{title}, round {}", state.round)
    } else {
        title.to_owned()
    });
    bar.set_length(state.total);
    bar.set_position(state.done);
    bar.set_message(message(state.jobs, state.finished, monitor.done(), narrow));
    // Its spinner moves where a whole decomposition takes longer than the others.
    bar.tick();
}

/// What stands behind the bar.
fn message(jobs: u64, finished: u64, read: u64, narrow: bool) -> String {
    let modules = if jobs > 0 { format!("{finished}/{jobs}") } else { String::new() };
    match (narrow, modules.is_empty()) {
        (true, _) => modules,
        (false, true) => format!("{} read", bytes(read)),
        (false, false) => format!("{modules} tensors, {} read", bytes(read)),
    }
}

/// Takes the bar off the screen, if there is one.
pub fn clear() {
    if let Some(bar) = bar().take() {
        bar.finish_and_clear();
    }
}

/// Runs `write`, which writes to stderr, with the bar out of its way.
pub fn aside<T>(write: impl FnOnce() -> T) -> T {
    match bar().as_ref() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn bar() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_terminals_get_less() {
        assert_eq!(message(28, 12, 3_450_552, false), "12/28 tensors, 3.5 MB read");
        assert_eq!(message(28, 12, 3_450_552, true), "12/28");
        assert_eq!(message(0, 0, 999, false), "999 B read");
    }
}
