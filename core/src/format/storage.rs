//! Decoding of storage formats, alone and fused with the subtraction of two sides.
//!
//! Everything is `inline(always)`: an instruction set's module compiles it again with its features on.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::convert::Convert;
use super::elements::{Bf16, F16, F32, F64, Format};
#[cfg(feature = "blocks")]
use super::quantize::{
    self,
    blocks::{Iq4Nl, Q4_1, Q5_0, Q5_1, encode_each},
};
use crate::{Dtype, Rows};

/// Sets out[i] = f(out[i], value of entry i).
#[inline(always)]
fn each<const N: usize, F: Format<N>>(bytes: &[u8], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = f(*out, F::value(bytes));
    }
}

/// [`each`] for f16, eight at a time.
#[inline(always)]
fn each_half<H: Convert>(bytes: &[u8], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    let (eights, rest) = bytes.as_chunks::<16>();
    let (outs, out_rest) = out.as_chunks_mut::<8>();
    for (out, bytes) in outs.iter_mut().zip(eights) {
        let values = H::widen(bytes);
        for i in 0..8 {
            out[i] = f(out[i], values[i]);
        }
    }
    if outs.len() <= eights.len() {
        let rest = eights.get(outs.len()).map_or(rest, |eight| eight.as_slice());
        each::<2, F16>(rest, out_rest, f);
    } else {
        each::<2, F16>(rest, &mut outs[eights.len()], f);
    }
}

#[inline(always)]
fn fused<const N: usize, F: Format<N>>(base: &[u8], tuned: &[u8], out: &mut [f32]) {
    let (base, tuned) = (base.as_chunks::<N>().0, tuned.as_chunks::<N>().0);
    for ((out, &base), &tuned) in out.iter_mut().zip(base).zip(tuned) {
        *out = F::value(tuned) - F::value(base);
    }
}

/// [`each`] for the formats that store every weight for itself; nothing for the others.
#[inline(always)]
fn apply<H: Convert>(rows: Rows<'_>, out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    match rows.dtype {
        Dtype::F32 => each::<4, F32>(rows.bytes, out, f),
        Dtype::F16 => each_half::<H>(rows.bytes, out, f),
        Dtype::Bf16 => each::<2, Bf16>(rows.bytes, out, f),
        Dtype::F64 => each::<8, F64>(rows.bytes, out, f),
        #[cfg(feature = "blocks")]
        _ => {}
    }
}

/// Decodes min(rows, out) elements of a format that stores every weight for itself; nothing for the others.
#[inline(always)]
pub fn decode<H: Convert>(rows: Rows<'_>, out: &mut [f32]) {
    apply::<H>(rows, out, |_, value| value);
}

/// `out` = tuned − base over min(base, tuned, out) elements, for formats that store every weight for itself.
///
/// Two equal formats without a conversion of their own, the common case, are decoded in one loop: in two
/// loops the product at width 8 loses several percent. All others decode one side after the other, so
/// that formats add up instead of multiplying.
#[inline(always)]
pub fn difference<H: Convert>(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
    match (base.dtype, tuned.dtype) {
        (Dtype::F32, Dtype::F32) => fused::<4, F32>(base.bytes, tuned.bytes, out),
        (Dtype::Bf16, Dtype::Bf16) => fused::<2, Bf16>(base.bytes, tuned.bytes, out),
        _ => {
            apply::<H>(tuned, out, |_, value| value);
            apply::<H>(base, out, |tuned, value| tuned - value);
        }
    }
}

/// Encodes min(values, out) elements; false, and nothing done, for a format that is only read.
#[inline(always)]
pub fn encode<H: Convert>(values: &[f32], dtype: Dtype, out: &mut [u8]) -> bool {
    match dtype {
        Dtype::F32 => put(values, out, f32::to_le_bytes),
        Dtype::F16 => {
            let (eights, rest) = values.as_chunks::<8>();
            let (outs, out_rest) = out.as_chunks_mut::<16>();
            for (out, values) in outs.iter_mut().zip(eights) {
                *out = H::narrow(values);
            }
            put(rest, out_rest, |value| half::f16::from_f32(value).to_le_bytes());
        }
        Dtype::Bf16 => put(values, out, bf16),
        Dtype::F64 => put(values, out, |value| f64::from(value).to_le_bytes()),
        #[cfg(feature = "blocks")]
        Dtype::Q8_0 => {
            quantize::encode::<quantize::Q8_0, H, 32, 34>(values.as_chunks().0, out.as_chunks_mut().0);
        }
        #[cfg(feature = "blocks")]
        Dtype::Q4_0 => {
            quantize::encode::<quantize::Q4_0, H, 16, 18>(values.as_chunks().0, out.as_chunks_mut().0);
        }
        #[cfg(feature = "blocks")]
        Dtype::Q4_1 => encode_each::<Q4_1, 20>(values.as_chunks().0, out.as_chunks_mut().0),
        #[cfg(feature = "blocks")]
        Dtype::Q5_0 => encode_each::<Q5_0, 22>(values.as_chunks().0, out.as_chunks_mut().0),
        #[cfg(feature = "blocks")]
        Dtype::Q5_1 => encode_each::<Q5_1, 24>(values.as_chunks().0, out.as_chunks_mut().0),
        #[cfg(feature = "blocks")]
        Dtype::Iq4Nl => encode_each::<Iq4Nl, 18>(values.as_chunks().0, out.as_chunks_mut().0),
        #[cfg(feature = "blocks")]
        _ => return false,
    }
    true
}

/// Whether no entry is infinite or NaN; `None` where only decoding tells.
#[inline(always)]
pub fn all_finite(rows: Rows<'_>) -> Option<bool> {
    Some(match rows.dtype {
        Dtype::F32 => whole(rows.bytes, |entry| u32::from_le_bytes(entry) & 0x7f80_0000 != 0x7f80_0000),
        Dtype::F16 => whole(rows.bytes, |entry| u16::from_le_bytes(entry) & 0x7c00 != 0x7c00),
        Dtype::Bf16 => whole(rows.bytes, |entry| u16::from_le_bytes(entry) & 0x7f80 != 0x7f80),
        // Integers times the scale that a block begins with: no product of these overflows.
        #[cfg(feature = "blocks")]
        Dtype::Q8_0 => whole(rows.bytes, |[low, high, ..]: [u8; 34]| has_finite_scale([low, high])),
        #[cfg(feature = "blocks")]
        Dtype::Q4_0 => whole(rows.bytes, |[low, high, ..]: [u8; 18]| has_finite_scale([low, high])),
        _ => return None,
    })
}

#[cfg(feature = "blocks")]
#[inline(always)]
fn has_finite_scale(half: [u8; 2]) -> bool {
    u16::from_le_bytes(half) & 0x7c00 != 0x7c00
}

/// Whether `is` holds for every entry of `N` bytes; without leaving early, so that it vectorises.
#[inline(always)]
fn whole<const N: usize>(bytes: &[u8], is: impl Fn([u8; N]) -> bool) -> bool {
    bytes.as_chunks::<N>().0.iter().fold(0_u32, |found, &entry| found | u32::from(!is(entry))) == 0
}

/// To the upper half of the bits, to nearest, ties to even; without branches, so that it vectorises.
#[inline(always)]
fn bf16(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A NaN stays one, whatever its payload.
    let quiet = bits >> 16 | 0x40;
    ((if value.is_nan() { quiet } else { rounded }) as u16).to_le_bytes()
}

#[inline(always)]
fn put<const N: usize>(values: &[f32], out: &mut [u8], encode: impl Fn(f32) -> [u8; N]) {
    for (bytes, &value) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *bytes = encode(value);
    }
}
