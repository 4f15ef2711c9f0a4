//! What one of several threads does of the work of one call.

use core::ops::Range;

use crate::Error;

/// The unit that slices of rows are cut at: a cache line of f32 at least.
pub(super) const ROWS: usize = 64;

/// Slice `index` of `count`, the (ith, nth) of ggml's custom operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    index: usize,
    count: usize,
}

impl Slice {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Slice `index` of `count`.
    ///
    /// # Errors
    /// [`Error::SliceBounds`] unless `index` is below `count`.
    pub const fn new(index: usize, count: usize) -> Result<Self, Error> {
        if index < count { Ok(Self { index, count }) } else { Err(Error::SliceBounds) }
    }

    /// The output rows of a layer of `rows` that it adds to in [`Apply::up`](super::Apply::up): whole cache lines.
    pub const fn rows(self, rows: usize) -> Range<usize> {
        self.range(rows, ROWS)
    }

    /// Its range of `len` units, cut at multiples of `unit`.
    const fn range(self, len: usize, unit: usize) -> Range<usize> {
        cut(len, unit, self.index, self.count)..cut(len, unit, self.index + 1, self.count)
    }

    /// The same without rounding: where it begins and ends.
    pub(super) fn ends(self, len: usize) -> [usize; 2] {
        [cut(len, 1, self.index, self.count), cut(len, 1, self.index + 1, self.count)]
    }
}

/// `len`·i/n, down to a multiple of `unit` unless it is the end.
const fn cut(len: usize, unit: usize, i: usize, n: usize) -> usize {
    if i == n {
        return len;
    }
    // The product of two usize need not fit into one.
    let at = (len as u128 * i as u128 / n as u128) as usize;
    at / unit * unit
}
