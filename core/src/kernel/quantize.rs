//! Encoding into Q8_0 and Q4_0, with the bits of ggml's reference rounding (`from_float_ref`).
//!
//! A block that holds a NaN or an infinity, where ggml's result is not defined, becomes one that decodes to NaN
//! throughout, so that none is lost. The loops have a fixed length and no branches, so that they vectorise.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]
#![expect(clippy::cast_sign_loss, reason = "integers are stored as bytes")]

use super::storage::Widen;
use half::f16;

/// Weights per block of both formats.
const LEN: usize = 32;

/// The bits of f32 without the sign, and those of infinity, above which there are NaNs alone.
const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;

/// Blocks whose scales are computed side by side: one after the other, two divisions and a conversion would be waited for.
const GROUP: usize = 8;

/// Encodes blocks: the largest magnitude of each becomes ±127.
#[inline(always)]
pub fn q8_0<H: Widen>(values: &[[f32; LEN]], blocks: &mut [[u8; 34]]) {
    for (values, blocks) in values.chunks(GROUP).zip(blocks.chunks_mut(GROUP)) {
        let mut scales = [0.0; GROUP];
        for (scale, values) in scales.iter_mut().zip(values) {
            *scale = f32::from_bits(largest(values));
        }
        let scales = scales.map(|largest| largest / 127.0);
        let (halves, inverses) = (H::narrow(&scales), scales.map(|scale| inverse(scale).unwrap_or(0.0)));
        let all = blocks.iter_mut().zip(values).zip(scales).zip(inverses).zip(halves.as_chunks::<2>().0);
        for ((((block, values), scale), inverse), half) in all {
            let (to, quants) = block.split_at_mut(2);
            to.copy_from_slice(&stored(scale, *half));
            for (quant, value) in quants.iter_mut().zip(values) {
                *quant = round(value * inverse) as u8;
            }
        }
    }
}

/// Encodes one block: the value of the largest magnitude, the first of them, becomes −8.
#[inline(always)]
pub fn q4_0(values: &[f32; LEN], block: &mut [u8; 18]) {
    let bits = largest(values);
    // Of zeros alone it is 0, whatever their signs.
    let first = values.iter().find(|value| bits > 0 && value.to_bits() & MAGNITUDE == bits);
    let (scale, quants) = block.split_at_mut(2);
    let inverse = write_scale(first.copied().unwrap_or(0.0) / -8.0, scale);
    let (inverse, zero) = inverse.map_or((0.0, 0.0), |inverse| (inverse, 8.5));
    let four_bits = |value: f32| truncate(value * inverse + zero).min(15) as u8;
    for (i, quant) in quants.iter_mut().enumerate() {
        *quant = four_bits(values[i]) | four_bits(values[i + LEN / 2]) << 4;
    }
}

/// The bits of the largest magnitude; those of a NaN are larger than all others.
#[inline(always)]
fn largest(values: &[f32; LEN]) -> u32 {
    values.iter().fold(0, |most, value| most.max(value.to_bits() & MAGNITUDE))
}

/// Writes `scale`, or NaN where it is none, and gives its inverse.
#[inline(always)]
fn write_scale(scale: f32, to: &mut [u8]) -> Option<f32> {
    to.copy_from_slice(&stored(scale, f16::from_f32(scale).to_le_bytes()));
    inverse(scale)
}

/// What is stored of `scale`, `half` in f16: NaN where it is none.
#[inline(always)]
fn stored(scale: f32, half: [u8; 2]) -> [u8; 2] {
    if is_finite(scale) { half } else { f16::NAN.to_le_bytes() }
}

/// What to multiply the values by, 0 where all of them are. `None`: the integers are to be 0. They are as well where ggml
/// runs on x86-64 and a scale is so small that its inverse overflows; it is stored as 0.
#[inline(always)]
fn inverse(scale: f32) -> Option<f32> {
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    (is_finite(scale) && is_finite(inverse)).then_some(inverse)
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
