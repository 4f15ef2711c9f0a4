//! What all file functions have in common: messages, arguments by their names, progress.

use crate::guard::{Guard, In, Out, guarded};
use crate::status::Status;
use core::ffi::{CStr, c_char, c_void};
use phlora::{Error, Monitor, Reason};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{panic, thread};

/// Told how far a file function is, about ten times a second and at its beginning and end, on the thread that
/// called it. `done` of `total` bytes are read; the total is an estimate that is corrected on the way. Anything
/// but 0 returned cancels the job, which then leaves nothing behind. It must not throw or longjmp.
pub type ProgressCallback =
    Option<extern "C" fn(user: *mut c_void, bytes_done: u64, bytes_total: u64) -> u32>;

/// Time between two calls of the progress callback.
const PERIOD: Duration = Duration::from_millis(100);

/// A status, and the text that explains it.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub text: String,
}

impl Failure {
    /// An argument or option that cannot be met.
    pub fn option(name: &str, problem: impl Display) -> Self {
        Self { status: Status::BadOption, text: format!("{name}: {problem}") }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Io { .. } => Status::Io,
            // Neither the file nor an option is wrong.
            ref error if error.reason() == Some(Reason::NoMemory) => Status::Io,
            Error::Format { .. } | Error::Tensor { .. } => Status::Format,
            Error::Mismatch { .. } => Status::Mismatch,
            Error::Usage { .. } | Error::Include { .. } => Status::BadOption,
            Error::Exists { .. } => Status::Exists,
            Error::NothingToExtract { .. } => Status::NothingToExtract,
            Error::Unfinished { .. } => Status::Unfinished,
            Error::Cancelled => Status::Cancelled,
            _ => Status::Internal,
        };
        Self { status, text: error.to_string() }
    }
}

/// Says which argument a status is about.
pub trait Named<T> {
    fn of(self, name: &str) -> Result<T, Failure>;
}

impl<T> Named<T> for Result<T, Status> {
    fn of(self, name: &str) -> Result<T, Failure> {
        self.map_err(|status| Failure { status, text: format!("{name}: {}", status.text()) })
    }
}

/// Runs a file function. Its message receives the text of an error; on success what `work` returns, which is what there is
/// to be known, one remark a line.
pub fn job(
    message: Out<c_char>,
    message_len: usize,
    work: impl for<'c> FnOnce(&mut Guard<'c>) -> Result<String, Failure>,
) -> Status {
    guarded(|guard| {
        let message = guard.message(message, message_len)?;
        match work(guard) {
            Ok(notes) => {
                write_text(&notes, message);
                Ok(())
            }
            Err(Failure { status, text }) => {
                // It may be the message that overlaps something.
                if status != Status::Overlap {
                    write_text(&text, message);
                }
                Err(status)
            }
        }
    })
}

/// Runs `work`, and meanwhile calls `progress` from this thread.
pub fn watched<T: Send>(
    progress: ProgressCallback,
    user: *mut c_void,
    work: impl FnOnce(&Monitor) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let monitor = Monitor::default();
    let Some(progress) = progress else { return work(&monitor) };
    let tell = || {
        if progress(user, monitor.done(), monitor.total()) != 0 {
            monitor.cancel();
        }
    };
    tell();
    thread::scope(|scope| {
        let (running, ended) = channel::<()>();
        let worker = scope.spawn(|| {
            let result = work(&monitor);
            drop(running);
            result
        });
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PERIOD) {
            tell();
        }
        let result = worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
        tell();
        result
    })
}

/// Writes `text` with a zero byte behind, cut between characters where the room is short.
fn write_text(text: &str, to: &mut [u8]) {
    let Some(room) = to.len().checked_sub(1) else { return };
    let text = text.split('\0').next().unwrap_or_default();
    let cut = (0..=room.min(text.len())).rfind(|&at| text.is_char_boundary(at)).unwrap_or(0);
    to[..cut].copy_from_slice(&text.as_bytes()[..cut]);
    to[cut] = 0;
}

/// A path that must be there.
pub fn path(guard: &mut Guard<'_>, name: &str, from: In<c_char>) -> Result<PathBuf, Failure> {
    path_or_none(guard, name, from)?.ok_or(Status::NullPointer).of(name)
}

/// A path, or none for NULL.
pub fn path_or_none(guard: &mut Guard<'_>, name: &str, from: In<c_char>) -> Result<Option<PathBuf>, Failure> {
    guard.text_among(from).and_then(|text| text.map(os_path).transpose()).of(name)
}

/// Paths, each of which must be there.
pub fn paths(
    guard: &mut Guard<'_>,
    name: &str,
    list: In<In<c_char>>,
    len: usize,
) -> Result<Vec<PathBuf>, Failure> {
    let list = guard.list_among(list, len).of(name)?;
    let at = |(i, &from): (usize, &In<c_char>)| path(guard, &format!("{name}[{i}]"), from);
    list.iter().enumerate().map(at).collect()
}

/// A text, or none for NULL.
pub fn text_or_none<'c>(
    guard: &mut Guard<'c>,
    name: &str,
    from: In<c_char>,
) -> Result<Option<&'c str>, Failure> {
    let text = guard.text_among(from).of(name)?;
    text.map(CStr::to_str).transpose().map_err(|_| Status::BadText).of(name)
}

/// A number of the C ABI whose 0 is the default and whose negatives are 0, from 0 to 1.
pub fn share(name: &str, value: f64, default: f64) -> Result<f64, Failure> {
    match value {
        0.0 => Ok(default),
        _ if value < 0.0 => Ok(0.0),
        _ if value <= 1.0 => Ok(value),
        _ => Err(Failure::option(name, "expected a share from 0 to 1")),
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere it can fail
fn os_path(text: &CStr) -> Result<PathBuf, Status> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(text.to_bytes()).into())
}

#[cfg(not(unix))]
fn os_path(text: &CStr) -> Result<PathBuf, Status> {
    text.to_str().map(PathBuf::from).map_err(|_| Status::BadText)
}
