//! One tensor as its file states it, whatever the container.

use phlora_core::Dtype;
use std::ops::Range;

/// A tensor, checked against its file.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    /// The dtype as the file calls it, e.g. `BF16` or `Q4_K`.
    pub(crate) dtype_name: String,
    /// That dtype if it is one of those read here.
    pub(crate) dtype: Option<Dtype>,
    /// Slowest axis first.
    pub(crate) shape: Vec<usize>,
    /// Where its bytes are in the file. Where the dtype is read, they are exactly those of the shape.
    pub(crate) range: Range<usize>,
}
