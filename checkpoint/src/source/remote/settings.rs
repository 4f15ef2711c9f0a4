//! How files at addresses are read.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Requests at a time.
const CONNECTIONS: usize = 16;

/// Bytes of weights that are held at a time where nothing is said.
const SIZE: u64 = 2 << 30;

/// How weights of models that are not files are held while they are worked on.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// The directory of the spool files that hold them; they are gone when the process ends, however it ends. `None`: they
    /// are held in memory.
    pub spool: Option<PathBuf>,
    /// Bytes held at a time, which must be enough for each weight of both sides together. `None`: 2 GiB, and more where a
    /// weight needs it.
    pub size: Option<u64>,
    /// Requests at a time. `None`: 16.
    pub connections: Option<NonZeroUsize>,
}

static OPTIONS: Mutex<RemoteOptions> =
    Mutex::new(RemoteOptions { spool: None, size: None, connections: None });

/// From now on, reads models at addresses in this way. It holds for the whole process; connections that are open, and what is
/// held already, stay as they are.
pub fn read_remote(options: RemoteOptions) {
    *OPTIONS.lock().unwrap_or_else(PoisonError::into_inner) = options;
}

pub(super) fn options() -> RemoteOptions {
    OPTIONS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

pub(super) fn connections() -> usize {
    options().connections.map_or(CONNECTIONS, NonZeroUsize::get)
}

impl RemoteOptions {
    /// Bytes that may be held at a time.
    pub(super) fn limit(&self) -> u64 {
        self.size.unwrap_or(SIZE)
    }
}
