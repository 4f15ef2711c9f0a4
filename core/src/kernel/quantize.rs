//! Encoding into Q8_0 and Q4_0, with the bits of ggml's reference rounding (`from_float_ref`).
//!
//! A block that holds a NaN or an infinity, where ggml's result is not defined, becomes one that decodes to NaN
//! throughout, so that none is lost. The loops have a fixed length and no branches, so that they vectorise.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]
#![expect(clippy::cast_sign_loss, reason = "integers are stored as bytes")]

use super::storage::Convert;

/// Weights per block of both formats.
const LEN: usize = 32;

/// The bits of f32 without the sign, and those of infinity, above which there are NaNs alone.
const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;

/// Blocks whose scales are computed side by side: one after the other, two divisions and a conversion would be waited for.
const GROUP: usize = 8;

/// A format of blocks of a scale and `Q` bytes. A trait and not closures, which would be compiled without the features of
/// the caller.
pub trait Blocks<const Q: usize> {
    /// A byte of integers where all values are zero.
    const ZERO: u8;
    /// The scale of a block.
    fn scale<H: Convert>(values: &[f32; LEN]) -> f32;
    /// Writes the integers of a block from its values and the inverse of its scale.
    fn integers<H: Convert>(values: &[f32; LEN], inverse: f32, out: &mut [u8; Q]);
}

/// The largest magnitude becomes ±127.
pub struct Q8_0;
/// The value of the largest magnitude, the first of them, becomes −8.
pub struct Q4_0;

impl Blocks<32> for Q8_0 {
    const ZERO: u8 = 0;
    #[inline(always)]
    fn scale<H: Convert>(values: &[f32; LEN]) -> f32 {
        f32::from_bits(H::largest(values)) / 127.0
    }
    #[inline(always)]
    fn integers<H: Convert>(values: &[f32; LEN], inverse: f32, out: &mut [u8; 32]) {
        H::bytes(values, inverse, out);
    }
}

impl Blocks<16> for Q4_0 {
    const ZERO: u8 = 0x88;
    #[inline(always)]
    fn scale<H: Convert>(values: &[f32; LEN]) -> f32 {
        let largest = H::largest(values);
        // Of zeros alone it is 0, whatever their signs.
        (if largest == 0 { 0.0 } else { H::first_largest(values, largest) }) / -8.0
    }
    #[inline(always)]
    fn integers<H: Convert>(values: &[f32; LEN], inverse: f32, out: &mut [u8; 16]) {
        H::nibbles(values, inverse, 8.5, out);
    }
}

/// Encodes blocks of `B` bytes.
///
/// Where the scale is no number it is stored as NaN, and all integers are 0. They are as well where ggml runs on x86-64 and
/// a scale is so small that its inverse overflows; it is stored as 0.
#[inline(always)]
pub fn encode<F: Blocks<Q>, H: Convert, const Q: usize, const B: usize>(
    values: &[[f32; LEN]],
    blocks: &mut [[u8; B]],
) {
    for (values, blocks) in values.chunks(GROUP).zip(blocks.chunks_mut(GROUP)) {
        let mut scales = [0.0; GROUP];
        for (scale, values) in scales.iter_mut().zip(values) {
            *scale = F::scale::<H>(values);
        }
        // Without branches, for vectors.
        let scales = scales.map(|scale| if is_finite(scale) { scale } else { f32::NAN });
        let inverses = scales.map(|scale| 1.0 / scale);
        let inverses = inverses.map(|inverse| if is_finite(inverse) { inverse } else { 0.0 });
        let all = blocks.iter_mut().zip(values).zip(scales).zip(inverses);
        for ((((block, values), scale), inverse), half) in all.zip(H::narrow(&scales).as_chunks::<2>().0) {
            if let Some((stored, integers)) = block.split_first_chunk_mut::<2>()
                && let Some(integers) = integers.first_chunk_mut()
            {
                *stored = *half;
                if inverse == 0.0 {
                    integers.fill(if scale == 0.0 { F::ZERO } else { 0 });
                } else {
                    F::integers::<H>(values, inverse, integers);
                }
            }
        }
    }
}

/// [`Convert::largest`] without instructions of its own.
#[inline(always)]
pub fn largest(values: &[f32; LEN]) -> u32 {
    values.iter().fold(0, |most, value| most.max(value.to_bits() & MAGNITUDE))
}

/// [`Convert::first_largest`] without instructions of its own.
#[inline(always)]
pub fn first_largest(values: &[f32; LEN], largest: u32) -> f32 {
    values.iter().find(|value| value.to_bits() & MAGNITUDE == largest).copied().unwrap_or(0.0)
}

/// [`Convert::nibbles`] without instructions of its own.
#[inline(always)]
pub fn nibbles(values: &[f32; LEN], factor: f32, zero: f32, out: &mut [u8; LEN / 2]) {
    let four_bits = |value: f32| truncate(value * factor + zero).min(15) as u8;
    for (i, out) in out.iter_mut().enumerate() {
        *out = four_bits(values[i]) | four_bits(values[i + LEN / 2]) << 4;
    }
}

/// [`Convert::bytes`] without instructions of its own.
#[inline(always)]
pub fn bytes(values: &[f32; LEN], factor: f32, out: &mut [u8; LEN]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = round(value * factor) as u8;
    }
}

#[inline(always)]
fn is_finite(value: f32) -> bool {
    value.to_bits() & MAGNITUDE < INFINITY
}

/// Added to a number far smaller than it, it leaves the nearest integer, ties to even, in the lowest bits: what a cast
/// would do one number at a time.
const MAGIC: f32 = 12_582_912.0;

/// The nearest integer and the same as f32, ties to even.
#[inline(always)]
fn nearest(value: f32) -> (i32, f32) {
    let shifted = value + MAGIC;
    (shifted.to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed(), shifted - MAGIC)
}

/// To the nearest integer, halves away from zero.
#[inline(always)]
fn round(value: f32) -> i32 {
    let (integer, whole) = nearest(value);
    let rest = value - whole;
    integer + i32::from(rest == 0.5 && value > 0.0) - i32::from(rest == -0.5 && value < 0.0)
}

/// Without the fraction, for what is not negative.
#[inline(always)]
fn truncate(value: f32) -> i32 {
    let (integer, whole) = nearest(value);
    integer - i32::from(whole > value)
}
