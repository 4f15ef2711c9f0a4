//! Integers packed along rows: `pack-quantized` of compressed-tensors.

use super::codes::{self, word};
use super::columns::GroupIndex;
use super::scales::{Scales, shift_and_scale};
use super::{Component, Fault};
use crate::{Error, Shape};

/// Integers of 2, 4 or 8 bits in 32-bit words, the first in the lowest bits: (code − zero point) × scale, both counted from
/// 2^(bits − 1).
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// Bits per weight.
    pub bits: u32,
    /// `weight_packed`, I32 [rows, ⌈columns·bits/32⌉].
    pub weight: &'a [u8],
    /// `weight_scale`, [rows, groups], [rows, 1] or one: blocks of one row, or of the whole matrix.
    pub scales: Scales<'a>,
    /// `weight_zero_point`, I32 [⌈rows·bits/32⌉, groups], packed along columns. Needs scales that each row has for itself.
    pub zero_points: Option<&'a [u8]>,
    /// `weight_g_idx`, I32 \[columns\]: the group of every column, in the place of consecutive ones. It counts for nothing
    /// where it holds −1, which compressed-tensors writes for "not used".
    pub g_idx: Option<&'a [u8]>,
}

impl<'a> Packed<'a> {
    fn row_bytes(&self, cols: usize) -> usize {
        // At most 4 bytes per column, which `Quantized::new` has seen not to overflow.
        4 * cols.div_ceil((32 / self.bits.max(1)) as usize)
    }

    /// The group index, unless it is marked as not used.
    fn group_index(&self) -> Option<GroupIndex<'a>> {
        let index = GroupIndex(self.g_idx?);
        if index.is_unused() { None } else { Some(index) }
    }

    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        if !matches!(self.bits, 2 | 4 | 8) {
            return Component::Weight.has(Fault::Bits { bits: self.bits });
        }
        Component::Weight.holds(self.weight, shape.rows, self.row_bytes(shape.cols))?;
        self.scales.check(shape)?;
        let groups = self.scales.across(shape.cols);
        if self.scales.block.rows != 1 && (self.zero_points.is_some() || self.g_idx.is_some()) {
            let component =
                if self.zero_points.is_some() { Component::ZeroPoints } else { Component::GroupIndex };
            return component.has(Fault::NotPerRow);
        }
        if let Some(zero_points) = self.zero_points {
            let words = shape.rows.div_ceil((32 / self.bits) as usize).checked_mul(groups);
            Component::ZeroPoints.holds(zero_points, words.ok_or(Error::TooLarge)?, 4)?;
        }
        if let Some(g_idx) = self.g_idx {
            Component::GroupIndex.holds(g_idx, shape.cols, 4)?;
        }
        self.group_index().map_or(Ok(()), |index| index.check(groups))
    }

    pub(super) fn bytes(&self) -> usize {
        let components = [Some(self.weight), Some(self.scales.values.bytes), self.zero_points, self.g_idx];
        components.into_iter().flatten().map(<[u8]>::len).sum()
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let (index, groups) = (self.group_index(), self.scales.across(shape.cols));
        let stored = self.weight.chunks(self.row_bytes(shape.cols)).skip(first);
        for ((row, stored), out) in (first..).zip(stored).zip(out.chunks_mut(shape.cols)) {
            match self.bits {
                2 => codes::integers::<2, 4>(stored, out, 2),
                4 => codes::integers::<4, 2>(stored, out, 8),
                _ => codes::integers::<8, 1>(stored, out, 128),
            }
            if let Some(index) = index {
                for (col, out) in out.iter_mut().enumerate() {
                    let group = index.of(col);
                    let scale = self.scales.values.get(row * groups + group);
                    *out = (*out - self.zero_point(row, group, groups)) * scale;
                }
            } else {
                let first = row * groups;
                self.scales.for_each(row, out, |at, out| {
                    let zero = self.zero_point(row, at.saturating_sub(first), groups);
                    let scale = self.scales.values.get(at);
                    shift_and_scale(out, zero, scale);
                });
            }
        }
    }

    /// The zero point of a group in a row, counted from 2^(bits − 1) as codes are.
    fn zero_point(&self, row: usize, group: usize, groups: usize) -> f32 {
        let Some(zero_points) = self.zero_points else { return 0.0 };
        let (per_word, mask) = ((32 / self.bits) as usize, (1_u32 << self.bits) - 1);
        let packed = word(zero_points, row / per_word * groups + group);
        let field = packed >> (self.bits * (row % per_word) as u32) & mask;
        (field.cast_signed() - (1 << (self.bits - 1))) as f32
    }
}
