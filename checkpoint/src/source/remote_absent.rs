//! What stands for files at addresses where this crate is built without its feature `remote`, or for a system that it does not
//! read them on.

#[path = "remote/settings.rs"]
#[allow(dead_code, reason = "nothing asks for the settings here")]
mod settings;

pub use settings::{RemoteOptions, read_remote};

use crate::error::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A file at an address; there is none.
#[derive(Debug)]
pub(crate) enum Image {}

impl Image {
    pub(crate) fn open(path: &Path, _: fn(&File) -> io::Result<Mmap>) -> Result<Arc<Self>> {
        Err(absent(path))
    }

    pub(crate) fn header(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) fn view(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) fn version(&self) -> String {
        match *self {}
    }

    pub(crate) fn is_held(&self, _: Range<usize>) -> bool {
        match *self {}
    }
}

/// Bytes of such files; there are none.
#[derive(Debug)]
pub(crate) struct Hold;

#[allow(
    clippy::unnecessary_wraps,
    clippy::unused_self,
    clippy::needless_pass_by_value,
    reason = "as where there are addresses"
)]
impl Hold {
    pub(crate) fn ask(
        _: Vec<(Arc<Image>, Range<usize>)>,
        _: Option<&Self>,
    ) -> std::result::Result<Self, String> {
        Ok(Self)
    }

    pub(crate) fn wait(&self) -> std::result::Result<(), (usize, String)> {
        Ok(())
    }
}

pub(crate) fn read_small(path: &Path, _: u64) -> Result<Option<Vec<u8>>> {
    Err(absent(path))
}

fn absent(path: &Path) -> Error {
    Error::format(
        path,
        "an address, which this build of phlora does not read: download the model, or use the command on \
                         Linux or macOS",
    )
}
