//! phlora's own compact form of a factor: rows of codes of 1 to 8 bits, each row with its own number of bits and scale.
//!
//! `docs/compact-form.md` is the specification. A row is a row of A, or a column of B.

mod encode;
mod levels;

pub use encode::{Fit, encode_row};
pub use levels::{DISTORTION, MAX_BITS, levels};

use super::{Component, Fault, FloatFormat, Floats};
use crate::{Error, Shape};

/// Codes that choose from levels, with the number of bits and the scale of each row.
///
/// An entry is the f16 nearest to √scale × level, so that it is exact in an adapter in f16.
#[derive(Debug, Clone, Copy)]
pub struct Compact<'a> {
    /// The rows, one after another, each in whole bytes; the first code is in the lowest bits.
    pub codes: &'a [u8],
    /// Bits per code of each row, 1 to 8, a byte each.
    pub bits: &'a [u8],
    /// A bf16 per row, finite and not negative.
    pub scales: &'a [u8],
    /// The levels in f16: 2 of the quantiser of 1 bit, then 4, 8 and so on, as far as there are.
    pub levels: &'a [u8],
}

/// Bytes of a row of `cols` codes; `None` where they overflow.
pub fn row_bytes(cols: usize, bits: u32) -> Option<usize> {
    Some(cols.checked_mul(bits as usize)?.div_ceil(8))
}

impl Compact<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        Component::Widths.holds(self.bits, shape.rows, 1)?;
        let scales = self.scales();
        scales.check(Component::Scales, shape.rows)?;
        let mut expected = 0_usize;
        for (at, &bits) in self.bits.iter().enumerate() {
            let bits = u32::from(bits);
            if !(1..=MAX_BITS).contains(&bits) {
                return Component::Widths.has(Fault::Bits { bits });
            }
            if self.levels.len() < 2 * ((2 << bits) - 2) {
                return Component::QuantMap.has(Fault::Length { expected: 2 * ((2 << bits) - 2) });
            }
            let scale = scales.get(at);
            if !(scale.is_finite() && scale >= 0.0) {
                return Component::Scales.has(Fault::NotFinite { at });
            }
            let row = row_bytes(shape.cols, bits).ok_or(Error::TooLarge)?;
            expected = expected.checked_add(row).ok_or(Error::TooLarge)?;
        }
        Component::Weight.holds(self.codes, expected, 1)
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + self.bits.len() + self.scales.len()
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let bytes = |bits: &u8| row_bytes(shape.cols, u32::from(*bits)).unwrap_or(0);
        let start = self.bits.iter().take(first).map(bytes).sum::<usize>();
        let mut codes = self.codes.get(start..).unwrap_or_default();
        let mut table = [0.0; 1 << MAX_BITS];
        for ((row, bits), out) in (first..).zip(self.bits.iter().skip(first)).zip(out.chunks_mut(shape.cols))
        {
            let (stored, rest) = codes.split_at_checked(bytes(bits)).unwrap_or((codes, &[]));
            codes = rest;
            let bits = u32::from(*bits);
            self.table(bits, self.scales().get(row), &mut table);
            match bits {
                1 => look_up::<1>(stored, &table, out),
                2 => look_up::<2>(stored, &table, out),
                3 => look_up::<3>(stored, &table, out),
                4 => look_up::<4>(stored, &table, out),
                5 => look_up::<5>(stored, &table, out),
                6 => look_up::<6>(stored, &table, out),
                7 => look_up::<7>(stored, &table, out),
                _ => look_up::<8>(stored, &table, out),
            }
        }
    }

    const fn scales(&self) -> Floats<'_> {
        Floats { format: FloatFormat::Bf16, bytes: self.scales }
    }

    /// The values that codes of so many bits stand for.
    fn table(&self, bits: u32, scale: f32, table: &mut [f32; 1 << MAX_BITS]) {
        let table = &mut table[..1 << bits];
        Floats { format: FloatFormat::F16, bytes: self.levels }.read((1 << bits) - 2, table);
        let root = libm::sqrtf(scale);
        for value in table {
            *value = half::f16::from_f32(root * *value).to_f32();
        }
    }
}

/// Writes the value of every code.
fn look_up<const BITS: usize>(codes: &[u8], table: &[f32; 1 << MAX_BITS], out: &mut [f32]) {
    let eight = |codes: &[u8], out: &mut [f32]| {
        let mut word = [0; 8];
        word.iter_mut().zip(codes).for_each(|(to, &code)| *to = code);
        let word = u64::from_le_bytes(word);
        for (i, out) in out.iter_mut().enumerate() {
            *out = table[(word >> (BITS * i)) as usize & ((1 << BITS) - 1)];
        }
    };
    let (outs, rest) = out.as_chunks_mut::<8>();
    let (words, last) = codes.as_chunks::<BITS>();
    for (out, codes) in outs.iter_mut().zip(words) {
        eight(codes, out);
    }
    eight(words.get(outs.len()).map_or(last, |word| word.as_slice()), rest);
}
