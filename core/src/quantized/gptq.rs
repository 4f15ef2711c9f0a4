//! GPTQ: integers packed along the inputs.

use super::codes::word;
use super::columns::{self, ByColumns, GroupIndex, Groups};
use super::fault::{Fault, Part, whole_columns};
use super::floats::Floats;
use crate::{Error, Shape};

/// Integers of 2, 3, 4 or 8 bits: (code − zero point) × scale. Their bits follow each other from the lowest on, those of 3
/// bits across words.
#[derive(Debug, Clone, Copy)]
pub struct Gptq<'a> {
    /// Bits per weight.
    pub bits: u32,
    /// `qweight`, I32 [columns·bits/32, rows].
    pub qweight: &'a [u8],
    /// `qzeros`, I32 [groups, rows·bits/32].
    pub qzeros: &'a [u8],
    /// Whether zero points are stored as they are, the format `gptq_v2`; else one less, the format `gptq`.
    pub v2: bool,
    /// `scales`, [groups, rows].
    pub scales: Floats<'a>,
    /// Columns per group; any number beyond the columns for one group (`group_size` −1).
    pub group_size: usize,
    /// `g_idx`, I32 [columns]: the group of every column, in the place of consecutive ones.
    pub g_idx: Option<&'a [u8]>,
}

/// The stored tensors with their lengths.
struct Stored<'a> {
    gptq: &'a Gptq<'a>,
    rows: usize,
    mask: u32,
}

impl Gptq<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        let per_word = match self.bits {
            // 32 in three words.
            3 => {
                whole_columns(shape.cols, 32)?;
                if !shape.rows.is_multiple_of(32) {
                    return Part::Weight.has(Fault::Rows { multiple_of: 32 });
                }
                None
            }
            2 | 4 | 8 => Some((32 / self.bits) as usize),
            bits => return Part::Weight.has(Fault::Bits { bits }),
        };
        let words = |entries: usize| per_word.map_or(entries / 32 * 3, |per_word| entries.div_ceil(per_word));
        Part::Scales.has_blocks(self.group_size)?;
        let groups = shape.cols.div_ceil(self.group_size);
        let holds = |part: Part, bytes: &[u8], count: Option<usize>| {
            part.holds(bytes, count.ok_or(Error::TooLarge)?, size_of::<u32>())
        };
        holds(Part::Weight, self.qweight, words(shape.cols).checked_mul(shape.rows))?;
        holds(Part::ZeroPoints, self.qzeros, words(shape.rows).checked_mul(groups))?;
        // No more groups than columns.
        self.scales.check(Part::Scales, groups * shape.rows)?;
        self.g_idx.map_or(Ok(()), |g_idx| {
            Part::GroupIndex.holds(g_idx, shape.cols, size_of::<i32>())?;
            GroupIndex(g_idx).check(groups)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.qweight.len() + self.qzeros.len() + self.scales.bytes.len() + self.g_idx.map_or(0, <[u8]>::len)
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let groups =
            self.g_idx.map_or(Groups::Size(self.group_size), |g_idx| Groups::Index(GroupIndex(g_idx)));
        let stored = Stored { gptq: self, rows: shape.rows, mask: (1 << self.bits) - 1 };
        columns::decode(&stored, groups, shape, first, out);
    }
}

impl Stored<'_> {
    /// The zero point of a row; `words` are in a row of `qzeros` before those of its group.
    fn zero(&self, words: usize, row: usize) -> f32 {
        let Gptq { bits, qzeros, v2, .. } = *self.gptq;
        let (at, shift) = (words + row * bits as usize / 32, (row * bits as usize % 32) as u32);
        let zero = if bits == 3 {
            let field = across(word(qzeros, at), word(qzeros, at + 1), shift);
            // One more within the field, as GPTQModel has it.
            if v2 { field } else { field + 1 }
        } else {
            // One more in every field at once, carrying over, as GPTQModel has it.
            let ones = u32::MAX / self.mask;
            let packed = word(qzeros, at);
            (if v2 { packed } else { packed.wrapping_add(ones) }) >> shift
        };
        (zero & self.mask) as f32
    }
}

/// The bits from `shift` on of two words, one after the other.
#[inline]
const fn across(low: u32, high: u32, shift: u32) -> u32 {
    ((low as u64 | (high as u64) << 32) >> shift) as u32
}

impl ByColumns for Stored<'_> {
    fn group(&self, group: usize, first: usize, scales: &mut [f32], zeros: &mut [f32]) {
        self.gptq.scales.read(group * self.rows + first, scales);
        let words = group * (self.rows * self.gptq.bits as usize).div_ceil(32);
        for (row, zero) in (first..).zip(zeros) {
            *zero = self.zero(words, row);
        }
    }

    #[inline]
    fn column(&self, col: usize, first: usize, out: &mut [f32]) {
        let bit = col * self.gptq.bits as usize;
        let (at, shift) = (bit / 32 * self.rows + first, (bit % 32) as u32);
        let words = self.gptq.qweight.get(4 * at..).unwrap_or_default().as_chunks().0;
        if shift + self.gptq.bits <= 32 {
            for (out, &word) in out.iter_mut().zip(words) {
                *out = value(u32::from_le_bytes(word) >> shift & self.mask);
            }
        } else {
            let next = words.get(self.rows..).unwrap_or_default();
            for ((out, &low), &high) in out.iter_mut().zip(words).zip(next) {
                let field = across(u32::from_le_bytes(low), u32::from_le_bytes(high), shift);
                *out = value(field & self.mask);
            }
        }
    }
}

/// A small integer in f32; by way of a signed one, for which processors have an instruction.
#[inline]
const fn value(field: u32) -> f32 {
    field.cast_signed() as f32
}
