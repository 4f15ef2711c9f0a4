//! The file functions: whole checkpoints in, adapters out. What the `phlora` command does, through the same
//! calls, so to the same bits.

mod adapter_file;
mod adapter_format;
mod also;
mod check;
mod convert;
mod criterion;
mod extract;
mod inspect;
mod names;
mod verify;

use crate::guard::{Guard, In};
use crate::status::Status;
use core::ffi::{CStr, c_char, c_void};
use phlora::{Error, Monitor, Reason};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{panic, thread};

pub use adapter_file::AdapterModule;
pub use extract::{FileOptions, FileReport};
pub use inspect::Contents;
pub use verify::Verification;

/// Told how far a file function is, about ten times a second and at its beginning and end, on the thread that
/// called it. `done` of `total` bytes are read; the total is an estimate that is corrected on the way. Anything
/// but 0 returned cancels the job, which then leaves nothing behind. It must not throw or longjmp.
pub type ProgressCallback =
    Option<extern "C" fn(user: *mut c_void, bytes_done: u64, bytes_total: u64) -> u32>;

/// Time between two calls of the progress callback.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs `work`, and meanwhile calls `progress` from this thread.
fn watched<T: Send>(
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
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
            tell();
        }
        let result = worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
        tell();
        result
    })
}

/// Ends a call: the error's text goes to the caller, an empty one on success.
fn told<T>(result: Result<T, Failure>, message: &mut [u8]) -> Result<T, Status> {
    match result {
        Ok(value) => {
            write_text("", message);
            Ok(value)
        }
        Err((status, text)) => {
            write_text(&text, message);
            Err(status)
        }
    }
}

/// How the file functions get at the bytes of models and adapters.
///
/// By default files are mapped: nothing is read before it is used, and a model takes no memory of its own. A mapped file must not
/// change until the call returns: where another process shortens it, or the server of a network file system goes away, the
/// system ends the process that reads (SIGBUS). A host that cannot promise that reads files in the place of mapping them:
/// a file that gets shorter is then a status, and each file takes its size in memory while a call uses it.
///
/// - `read`: 1: read files that are opened from now on; 0: map them.
///
/// Any thread; it holds for the whole process.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_read_files(read: u32) {
    phlora::read_files(read != 0);
}

/// A status, and the text that explains it.
type Failure = (Status, String);

fn failure(error: &Error) -> Failure {
    let status = match error {
        Error::Io { .. } => Status::Io,
        // Neither the file nor an option is wrong.
        error if error.reason() == Some(Reason::NoMemory) => Status::Io,
        Error::Format { .. } | Error::Tensor { .. } => Status::Format,
        Error::Mismatch { .. } => Status::Mismatch,
        Error::Usage { .. } | Error::Include { .. } => Status::BadOption,
        Error::Exists { .. } => Status::Exists,
        Error::NothingToExtract { .. } => Status::NothingToExtract,
        Error::Cancelled => Status::Cancelled,
        _ => Status::Internal,
    };
    (status, error.to_string())
}

/// Writes `text` with a zero byte behind, cut between characters where the room is short.
fn write_text(text: &str, to: &mut [u8]) {
    let Some(room) = to.len().checked_sub(1) else { return };
    let cut = (0..=room.min(text.len())).rfind(|&at| text.is_char_boundary(at)).unwrap_or(0);
    to[..cut].copy_from_slice(&text.as_bytes()[..cut]);
    to[cut] = 0;
}

/// A path that must be there.
fn path(guard: &mut Guard<'_>, from: In<c_char>) -> Result<PathBuf, Status> {
    os_path(guard.text(from)?.ok_or(Status::NullPointer)?)
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
