//! phlora's own file of an adapter, a few bits per entry: `docs/compact-form.md` is the specification.

mod encode;
mod read;
mod unpack;
mod write;

pub(crate) use read::{CompactFile, is_compact_file};
pub(crate) use write::{length, write};

/// The key of the metadata that holds the version.
const VERSION_KEY: &str = "phlora.compact";
/// The version that is written and read.
const VERSION: &str = "1";
/// The key of the metadata that holds what is to be known beside the factors.
const ADAPTER_KEY: &str = "phlora.adapter";
/// The tensor of the levels.
const LEVELS: &str = "phlora.levels";
