//! Errors of this crate; each names the file and the tensor.

mod reason;

pub use reason::Reason;

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
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
        /// What could be done.
        reason: Option<Reason>,
    },
    /// The two models do not belong together in one tensor.
    Mismatch {
        /// The tensor's name.
        tensor: String,
        /// What each side holds, with its file.
        problem: String,
        /// What could be done.
        reason: Option<Reason>,
    },
    /// An option cannot be met.
    Usage {
        /// Which, and why.
        problem: String,
        /// What could be done.
        reason: Option<Reason>,
    },
    /// Nothing that a pattern of [`Filter::include`](crate::Filter::include) names can be extracted.
    Include {
        /// The pattern.
        pattern: String,
        /// What it names, or what it may have meant.
        problem: String,
        /// What could be done.
        reason: Option<Reason>,
    },
    /// The output exists and may not be replaced.
    Exists {
        /// The output.
        path: PathBuf,
        /// Why it is not replaced.
        problem: String,
        /// What could be done.
        reason: Option<Reason>,
    },
    /// No module differs, or none that is extracted.
    NothingToExtract {
        /// What the two models differ in.
        why: String,
        /// What could be done.
        reason: Option<Reason>,
    },
    /// Parts of an extraction that others have to work on are missing.
    Unfinished {
        /// How many tensors are in no part file.
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

    pub(crate) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        let (path, tensor) = (path.to_owned(), tensor.to_owned());
        Self::Tensor { path, tensor, problem: problem.into(), reason: None }
    }

    pub(crate) fn mismatch(tensor: impl Into<String>, problem: String) -> Self {
        Self::Mismatch { tensor: tensor.into(), problem, reason: None }
    }

    pub(crate) fn usage(problem: String) -> Self {
        Self::Usage { problem, reason: None }
    }

    pub(crate) fn exists(path: &Path, problem: impl Into<String>) -> Self {
        Self::Exists { path: path.to_owned(), problem: problem.into(), reason: None }
    }

    pub(crate) fn nothing(why: String) -> Self {
        Self::NothingToExtract { why, reason: None }
    }

    /// The same with what could be done about it.
    pub(crate) fn because(mut self, why: Reason) -> Self {
        match &mut self {
            Self::Tensor { reason, .. }
            | Self::Mismatch { reason, .. }
            | Self::Usage { reason, .. }
            | Self::Include { reason, .. }
            | Self::Exists { reason, .. }
            | Self::NothingToExtract { reason, .. } => *reason = Some(why),
            Self::Io { .. } | Self::Format { .. } | Self::Unfinished { .. } | Self::Cancelled => {}
        }
        self
    }

    /// What could be done about it, where that is known.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Tensor { reason, .. }
            | Self::Mismatch { reason, .. }
            | Self::Usage { reason, .. }
            | Self::Include { reason, .. }
            | Self::Exists { reason, .. }
            | Self::NothingToExtract { reason, .. } => *reason,
            Self::Io { .. } | Self::Format { .. } | Self::Unfinished { .. } | Self::Cancelled => None,
        }
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
    values.try_reserve_exact(len).map_err(|_| no_memory::<T>(len))?;
    Ok(values)
}

/// What `values` yields, which are about `len`, as [`filled`].
pub(crate) fn collected<T>(len: usize, values: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
    let mut list = room_for(len)?;
    values.into_iter().try_for_each(|value| push(&mut list, value))?;
    Ok(list)
}

/// Adds a value to a list whose length follows from a file, as [`filled`].
pub(crate) fn push<T>(list: &mut Vec<T>, value: T) -> Result<()> {
    if list.len() == list.capacity() {
        list.try_reserve(1).map_err(|_| no_memory::<T>(2 * list.len()))?;
    }
    list.push(value);
    Ok(())
}

/// An empty set with room for `len` values, as [`filled`].
pub(crate) fn set_of<T: Eq + Hash>(len: usize) -> Result<HashSet<T>> {
    let mut set = HashSet::new();
    set.try_reserve(len).map_err(|_| no_memory::<T>(len))?;
    Ok(set)
}

fn no_memory<T>(len: usize) -> Error {
    let problem = format!("{} bytes of memory cannot be allocated", len.saturating_mul(size_of::<T>()));
    Error::usage(problem).because(Reason::NoMemory)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, action, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Self::Format { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Tensor { path, tensor, problem, .. } => {
                write!(f, "{}: tensor {tensor}: {problem}", path.display())
            }
            Self::Mismatch { tensor, problem, .. } => write!(f, "tensor {tensor}: {problem}"),
            Self::Usage { problem, .. } => f.write_str(problem),
            Self::Include { pattern, problem, .. } => write!(f, "include pattern {pattern} {problem}"),
            Self::Exists { path, problem, .. } => write!(f, "{} {problem}", path.display()),
            Self::NothingToExtract { why, .. } => write!(f, "nothing to extract: {why}"),
            Self::Unfinished { missing, named } => {
                let more = if *missing > named.len() { ", …" } else { "" };
                write!(f, "{missing} tensors are in no part file yet: {}{more}", named.join(", "))
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
