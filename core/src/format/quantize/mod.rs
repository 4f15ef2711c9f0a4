//! Encoding into Q8_0 and Q4_0, and in [`blocks`] into others, with the bits of ggml's reference rounding
//! (`from_float_ref`).
//!
//! A block that holds a NaN or an infinity, where ggml's result is not defined, becomes one that decodes to NaN
//! throughout, so that none is lost. The loops have a fixed length and no branches, so that they vectorise.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

pub mod blocks;

use super::convert::{Convert, MAGNITUDE};

/// Weights per block of every format here.
const LEN: usize = 32;

/// The bits of infinity, above which there are NaNs alone.
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

#[inline(always)]
fn is_finite(value: f32) -> bool {
    value.to_bits() & MAGNITUDE < INFINITY
}
