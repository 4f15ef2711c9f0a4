//! Formats of stored weights: which there are, and the portable loops that decode and encode them.

#[cfg(feature = "blocks")]
pub mod blocks;
pub mod convert;
mod dtype;
pub mod elements;
#[cfg(feature = "blocks")]
mod quantize;
pub mod storage;

pub use dtype::{Dtype, Rows};
