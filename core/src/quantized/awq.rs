//! AWQ in its GEMM layout: four bits, packed along the outputs in an order of its own.

use super::codes::words;
use super::columns::{self, ByColumns, Groups, ROWS, fields};
use super::floats::Floats;
use super::{Component, Fault};
use crate::{Error, Shape};

/// 4-bit integers: (code − zero point) × scale.
#[derive(Debug, Clone, Copy)]
pub struct Awq<'a> {
    /// `qweight`, I32 [columns, rows/8].
    pub qweight: &'a [u8],
    /// `qzeros`, I32 [groups, rows/8].
    pub qzeros: &'a [u8],
    /// `scales`, [groups, rows].
    pub scales: Floats<'a>,
    /// Columns per group; any number beyond the columns for one group (`group_size` −1).
    pub group_size: usize,
}

/// Where each of eight rows lies in a word: rows 0, 2, 4, 6, 1, 3, 5, 7 follow each other from the lowest bits on.
const SHIFTS: [u32; 8] = [0, 16, 4, 20, 8, 24, 12, 28];

/// The stored tensors with their lengths.
struct Stored<'a> {
    awq: &'a Awq<'a>,
    rows: usize,
}

impl Awq<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        if !shape.rows.is_multiple_of(8) {
            return Component::Weight.has(Fault::Rows { multiple_of: 8 });
        }
        Component::Scales.has_blocks(self.group_size)?;
        // No more groups than columns.
        let groups = shape.cols.div_ceil(self.group_size);
        Component::Weight.holds(self.qweight, shape.rows / 8 * shape.cols, size_of::<u32>())?;
        Component::ZeroPoints.holds(self.qzeros, shape.rows / 8 * groups, size_of::<u32>())?;
        self.scales.check(Component::Scales, shape.rows * groups)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.qweight.len() + self.qzeros.len() + self.scales.bytes.len()
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let stored = Stored { awq: self, rows: shape.rows };
        columns::decode(&stored, Groups::Size(self.group_size), shape, first, out);
    }
}

impl ByColumns for Stored<'_> {
    fn group(&self, group: usize, first: usize, scales: &mut [f32], zeros: &mut [f32]) {
        self.awq.scales.read(group * self.rows + first, scales);
        self.fields(self.awq.qzeros, group, first, zeros);
    }

    #[inline]
    fn column(&self, col: usize, first: usize, out: &mut [f32]) {
        self.fields(self.awq.qweight, col, first, out);
    }
}

impl Stored<'_> {
    /// The integers of a line of `bytes`, from row `first` on.
    #[inline]
    fn fields(&self, bytes: &[u8], line: usize, first: usize, out: &mut [f32]) {
        let words = words(bytes, line * (self.rows / 8) + first / 8);
        fields::<8, { ROWS / 8 + 1 }>(words, &SHIFTS, 0, first % 8, out);
    }
}
