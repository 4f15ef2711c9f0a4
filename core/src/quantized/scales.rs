//! Scales of the blocks of a matrix.

use super::Component;
use super::floats::Floats;
use crate::{Error, Shape};

/// One scale per block, row after row of blocks. The last blocks may reach beyond the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Scales<'a> {
    /// The scales: ⌈rows / block rows⌉ × ⌈columns / block columns⌉.
    pub values: Floats<'a>,
    /// Rows and columns of a block; any size beyond the matrix stands for all of it.
    pub block: Shape,
}

impl<'a> Scales<'a> {
    /// One for the whole matrix.
    pub const fn one(values: Floats<'a>) -> Self {
        Self { values, block: Shape { rows: usize::MAX, cols: usize::MAX } }
    }

    /// One for every row: \[rows\] or [rows, 1].
    pub const fn per_row(values: Floats<'a>) -> Self {
        Self::groups(values, usize::MAX)
    }

    /// One for every `size` columns of every row: [rows, groups].
    pub const fn groups(values: Floats<'a>, size: usize) -> Self {
        Self { values, block: Shape { rows: 1, cols: size } }
    }

    /// Refuses scales that are not those of the blocks of `shape`.
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        Component::Scales.has_blocks(self.block.rows)?;
        Component::Scales.has_blocks(self.block.cols)?;
        // No more blocks than weights.
        self.values.check(Component::Scales, shape.rows.div_ceil(self.block.rows) * self.across(shape.cols))
    }

    /// Blocks beside each other.
    pub(super) const fn across(&self, cols: usize) -> usize {
        cols.div_ceil(self.block.cols)
    }

    /// Calls `f` with each block of columns in `out`, which is row `row` of the matrix, and with the index of its scale.
    #[inline]
    pub(super) fn for_each(&self, row: usize, out: &mut [f32], mut f: impl FnMut(usize, &mut [f32])) {
        let first = row / self.block.rows * self.across(out.len());
        let cols = self.block.cols.min(out.len());
        out.chunks_mut(cols).enumerate().for_each(|(i, out)| f(first + i, out));
    }

    /// Multiplies row `row` with its scales, which `change` makes something of.
    #[inline]
    pub(super) fn apply(&self, row: usize, out: &mut [f32], change: impl Fn(f32) -> f32) {
        self.for_each(row, out, |index, out| multiply(out, change(self.values.get(index))));
    }
}

/// Multiplies all with `factor`.
#[inline]
pub fn multiply(out: &mut [f32], factor: f32) {
    for out in out {
        *out *= factor;
    }
}

/// Makes (code − zero) × scale of codes.
#[inline]
pub fn shift_and_scale(out: &mut [f32], zero: f32, scale: f32) {
    for out in out {
        *out = (*out - zero) * scale;
    }
}
