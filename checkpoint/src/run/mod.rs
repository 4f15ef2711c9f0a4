//! How jobs run: threads, progress and cancelling, outputs that appear whole or not at all.

pub(crate) mod monitor;
pub(crate) mod pool;
pub(crate) mod staging;
