//! A job on a thread of its own: Python's lock is released, Ctrl-C cancels, a callback sees progress.

use crate::errors::exception;
use phlora::Monitor;
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Time between two looks at signals and progress.
const INTERVAL: Duration = Duration::from_millis(50);

/// Runs `job`. Where a signal handler or `progress` raises, the job is cancelled, which leaves nothing behind, and the exception
/// goes on.
///
/// # Errors
/// The exception of the job's error.
pub fn run<T: Send>(
    py: Python<'_>,
    progress: Option<&Py<PyAny>>,
    job: impl FnOnce(&Monitor) -> phlora::Result<T> + Send,
) -> PyResult<T> {
    let monitor = Monitor::default();
    let look = || {
        Python::attach(|py| {
            py.check_signals()?;
            progress
                .map_or(Ok(()), |progress| progress.call1(py, (monitor.done(), monitor.total())).map(drop))
        })
    };
    py.detach(|| {
        thread::scope(|scope| {
            let (running, ended) = channel::<()>();
            let worker = scope.spawn(|| {
                let _running = running;
                job(&monitor)
            });
            let mut stopped = Ok(());
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if stopped.is_ok() {
                    stopped = look();
                    if stopped.is_err() {
                        monitor.cancel();
                    }
                }
            }
            let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            stopped?;
            let result = result.map_err(|error| exception(&error))?;
            look()?;
            Ok(result)
        })
    })
}
