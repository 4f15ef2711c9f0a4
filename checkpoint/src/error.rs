//! Errors of this crate; each names the file and the tensor.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was refused. Nothing of the output is left behind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or directory.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as in "cannot … PATH".
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or directory is not what it should be.
    Format {
        /// The file or directory.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// One tensor of a file cannot be used.
    Tensor {
        /// The file that holds it.
        path: PathBuf,
        /// Its name in that file.
        tensor: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The two models do not belong together in one tensor.
    Mismatch {
        /// The tensor's name.
        tensor: String,
        /// What each side holds, with its file.
        problem: String,
    },
    /// An option cannot be met.
    Usage(String),
    /// The output exists and may not be replaced.
    Exists {
        /// The output.
        path: PathBuf,
        /// Why it is not replaced, and what would help.
        problem: String,
    },
    /// No module differs, or none that is extracted.
    NothingToExtract(String),
    /// Parts of an extraction that others have to work on are missing.
    Unfinished {
        /// How many tensors are in no part.
        missing: usize,
        /// Names of some of them.
        named: Vec<String>,
    },
    /// [`Monitor::cancel`](crate::Monitor::cancel) was called.
    Cancelled,
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn format(path: &Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into() }
    }

    /// The same with the advice to leave the tensor out.
    pub(crate) fn or_excluded(mut self) -> Self {
        if let Self::Tensor { problem, .. } = &mut self {
            problem.push_str("; --exclude leaves it out");
        }
        self
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_owned(), tensor: tensor.to_owned(), problem: problem.into() }
    }
}

/// `len` copies of `value`. Where the size follows from a file, memory that the system refuses is an error, and never the end of
/// the process.
pub(crate) fn filled<T: Copy>(value: T, len: usize) -> Result<Vec<T>> {
    let mut values = room_for(len)?;
    values.resize(len, value);
    Ok(values)
}

/// An empty list with room for `len` values, as [`filled`].
pub(crate) fn room_for<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| {
        Error::Usage(format!("{} bytes of memory cannot be allocated", len.saturating_mul(size_of::<T>())))
    })?;
    Ok(values)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, action, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Self::Format { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Tensor { path, tensor, problem } => {
                write!(f, "{}: tensor {tensor}: {problem}", path.display())
            }
            Self::Mismatch { tensor, problem } => write!(f, "tensor {tensor}: {problem}"),
            Self::Usage(problem) => f.write_str(problem),
            Self::Exists { path, problem } => write!(f, "{} {problem}", path.display()),
            Self::NothingToExtract(why) => write!(f, "nothing to extract: {why}"),
            Self::Unfinished { missing, named } => {
                let more = if *missing > named.len() { ", …" } else { "" };
                write!(f, "{missing} tensors are in no part yet: {}{more}", named.join(", "))
            }
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
