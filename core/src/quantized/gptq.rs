//! GPTQ: integers packed along the inputs.

use super::codes::{word, words};
use super::columns::{self, ByColumns, GroupIndex, Groups, ROWS, fields};
use super::floats::Floats;
use super::{Component, Fault, check::whole_columns};
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
    /// `g_idx`, I32 \[columns\]: the group of every column, in the place of consecutive ones.
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
                    return Component::Weight.has(Fault::Rows { multiple_of: 32 });
                }
                None
            }
            2 | 4 | 8 => Some((32 / self.bits) as usize),
            bits => return Component::Weight.has(Fault::Bits { bits }),
        };
        let words = |entries: usize| per_word.map_or(entries / 32 * 3, |per_word| entries.div_ceil(per_word));
        Component::Scales.has_blocks(self.group_size)?;
        let groups = shape.cols.div_ceil(self.group_size);
        let holds = |component: Component, bytes: &[u8], count: Option<usize>| {
            component.holds(bytes, count.ok_or(Error::TooLarge)?, size_of::<u32>())
        };
        holds(Component::Weight, self.qweight, words(shape.cols).checked_mul(shape.rows))?;
        holds(Component::ZeroPoints, self.qzeros, words(shape.rows).checked_mul(groups))?;
        // No more groups than columns.
        self.scales.check(Component::Scales, groups * shape.rows)?;
        self.g_idx.map_or(Ok(()), |g_idx| {
            Component::GroupIndex.holds(g_idx, shape.cols, size_of::<i32>())?;
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
    /// The zero points of rows from `first` on; `line` words of `qzeros` lie before those of the group.
    fn zeros(&self, line: usize, first: usize, out: &mut [f32]) {
        match self.gptq.bits {
            2 => self.whole_zeros::<16, { ROWS / 16 + 1 }>(line, first, out),
            3 => self.zeros_across(line, first, out),
            4 => self.whole_zeros::<8, { ROWS / 8 + 1 }>(line, first, out),
            _ => self.whole_zeros::<4, { ROWS / 4 + 1 }>(line, first, out),
        }
    }

    /// Those that do not cross words. In the format `gptq` one is added to all fields of a word at once and may carry over,
    /// as GPTQModel has it.
    fn whole_zeros<const PER_WORD: usize, const WORDS: usize>(
        &self,
        line: usize,
        first: usize,
        out: &mut [f32],
    ) {
        let more = if self.gptq.v2 { 0 } else { u32::MAX / self.mask };
        let shifts = core::array::from_fn(|i| (i * 32 / PER_WORD) as u32);
        let words = words(self.gptq.qzeros, line + first / PER_WORD);
        fields::<PER_WORD, WORDS>(words, &shifts, more, first % PER_WORD, out);
    }

    /// Those of 3 bits. In the format `gptq` one is added to each field for itself, as GPTQModel has it.
    fn zeros_across(&self, line: usize, first: usize, out: &mut [f32]) {
        let more = u32::from(!self.gptq.v2);
        for (bit, out) in (3 * first..).step_by(3).zip(out) {
            let [low, high] = [0, 1].map(|next| word(self.gptq.qzeros, line + bit / 32 + next));
            *out = value((across(low, high, (bit % 32) as u32) + more) & self.mask);
        }
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
        self.zeros(group * (self.rows * self.gptq.bits as usize).div_ceil(32), first, zeros);
    }

    #[inline]
    fn column(&self, col: usize, first: usize, out: &mut [f32]) {
        let bit = col * self.gptq.bits as usize;
        let (at, shift) = (bit / 32 * self.rows + first, (bit % 32) as u32);
        let words = words(self.gptq.qweight, at);
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
