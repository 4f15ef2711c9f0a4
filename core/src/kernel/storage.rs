//! Decoding of storage formats, alone and fused with the subtraction of two sides.
//!
//! Everything is `inline(always)`: an instruction set's module compiles it again with its features on.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{Dtype, Rows};

/// A format of one element per `N` bytes.
trait Format<const N: usize> {
    /// The element's value in f32.
    fn value(bytes: [u8; N]) -> f32;
}

struct F32;
struct F16;
struct Bf16;

impl Format<4> for F32 {
    #[inline(always)]
    fn value(bytes: [u8; 4]) -> f32 {
        f32::from_le_bytes(bytes)
    }
}

impl Format<2> for Bf16 {
    #[inline(always)]
    fn value(bytes: [u8; 2]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
    }
}

impl Format<2> for F16 {
    /// Without branches, so that it vectorises: exponent and fraction moved into place and multiplied by
    /// 2¹¹² come out right for normal and subnormal numbers; infinity and NaN get their exponent set.
    #[inline(always)]
    fn value(bytes: [u8; 2]) -> f32 {
        const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
        const EXPONENT: u32 = 0x7f80_0000;
        let bits = u32::from(u16::from_le_bytes(bytes));
        let magnitude = (f32::from_bits((bits & 0x7fff) << 13) * REBIAS).to_bits();
        let special = if bits & 0x7c00 == 0x7c00 { EXPONENT } else { 0 };
        f32::from_bits(magnitude | special | (bits & 0x8000) << 16)
    }
}

#[inline(always)]
fn fill<const N: usize, F: Format<N>>(bytes: &[u8], out: &mut [f32]) {
    for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = F::value(bytes);
    }
}

#[inline(always)]
fn subtract<const N: usize, F: Format<N>>(bytes: &[u8], out: &mut [f32]) {
    for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out -= F::value(bytes);
    }
}

#[inline(always)]
fn fused<const N: usize, F: Format<N>>(base: &[u8], tuned: &[u8], out: &mut [f32]) {
    let (base, tuned) = (base.as_chunks::<N>().0, tuned.as_chunks::<N>().0);
    for ((out, &base), &tuned) in out.iter_mut().zip(base).zip(tuned) {
        *out = F::value(tuned) - F::value(base);
    }
}

/// Decodes min(rows, out) elements.
#[inline(always)]
pub fn decode(rows: Rows<'_>, out: &mut [f32]) {
    match rows.dtype {
        Dtype::F32 => fill::<4, F32>(rows.bytes, out),
        Dtype::F16 => fill::<2, F16>(rows.bytes, out),
        Dtype::Bf16 => fill::<2, Bf16>(rows.bytes, out),
    }
}

/// `out` = tuned − base over min(base, tuned, out) elements.
///
/// Two equal formats, the common case, are decoded in one loop: in two loops the product at width 8 loses
/// several percent. Unequal ones decode one side after the other, so formats add up instead of multiplying.
#[inline(always)]
pub fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
    match (base.dtype, tuned.dtype) {
        (Dtype::F32, Dtype::F32) => fused::<4, F32>(base.bytes, tuned.bytes, out),
        (Dtype::F16, Dtype::F16) => fused::<2, F16>(base.bytes, tuned.bytes, out),
        (Dtype::Bf16, Dtype::Bf16) => fused::<2, Bf16>(base.bytes, tuned.bytes, out),
        (dtype, _) => {
            decode(tuned, out);
            match dtype {
                Dtype::F32 => subtract::<4, F32>(base.bytes, out),
                Dtype::F16 => subtract::<2, F16>(base.bytes, out),
                Dtype::Bf16 => subtract::<2, Bf16>(base.bytes, out),
            }
        }
    }
}
