//! Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: weights with one scale, and a minimum in the `_1` formats.
//!
//! In the formats of 4 and 5 bits the halves of a byte belong to weights that lie 16 apart.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::fields::{field, scale};

#[inline(always)]
pub fn q1_0(block: &[u8; 18], out: &mut [f32; 128]) {
    let (d, bits) = (scale(block, 0), field::<16>(block, 2));
    for (out, byte) in out.as_chunks_mut::<8>().0.iter_mut().zip(bits) {
        for i in 0..8 {
            out[i] = if byte >> i & 1 == 1 { d } else { -d };
        }
    }
}

#[inline(always)]
pub fn q2_0(block: &[u8; 18], out: &mut [f32; 64]) {
    let (d, quants) = (scale(block, 0), field::<16>(block, 2));
    for (out, byte) in out.as_chunks_mut::<4>().0.iter_mut().zip(quants) {
        for i in 0..4 {
            out[i] = f32::from(i16::from(byte >> (2 * i) & 3) - 1) * d;
        }
    }
}

#[inline(always)]
pub fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let (d, quants) = (scale(block, 0), *field::<16>(block, 2));
    let mut values = [[0.0; 16]; 2];
    for i in 0..16 {
        values[0][i] = f32::from((quants[i] & 15).wrapping_sub(8).cast_signed()) * d;
        values[1][i] = f32::from((quants[i] >> 4).wrapping_sub(8).cast_signed()) * d;
    }
    out.copy_from_slice(values.as_flattened());
}

#[inline(always)]
pub fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, min, quants) = (scale(block, 0), scale(block, 2), *field::<16>(block, 4));
    let mut values = [[0.0; 16]; 2];
    for i in 0..16 {
        values[0][i] = f32::from(quants[i] & 15) * d + min;
        values[1][i] = f32::from(quants[i] >> 4) * d + min;
    }
    out.copy_from_slice(values.as_flattened());
}

#[inline(always)]
pub fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let (d, quants) = (scale(block, 0), fives(field(block, 2), field(block, 6)));
    let mut values = [0.0; 32];
    for i in 0..32 {
        values[i] = (quants[i] - 16) as f32 * d;
    }
    *out = values;
}

#[inline(always)]
pub fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, min, quants) = (scale(block, 0), scale(block, 2), fives(field(block, 4), field(block, 8)));
    let mut values = [0.0; 32];
    for i in 0..32 {
        values[i] = quants[i] as f32 * d + min;
    }
    *out = values;
}

/// Five-bit numbers from their highest bits and the rest.
#[inline(always)]
fn fives(high: &[u8; 4], low: &[u8; 16]) -> [i32; 32] {
    let (high, low) = (u32::from_le_bytes(*high), *low);
    let mut out = [0; 32];
    for i in 0..16 {
        let both = i32::from(low[i]);
        out[i] = (both & 15) + if high & 1 << i == 0 { 0 } else { 16 };
        out[i + 16] = (both >> 4) + if high >> 16 & 1 << i == 0 { 0 } else { 16 };
    }
    out
}

#[inline(always)]
pub fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let (d, quants) = (scale(block, 0), field::<32>(block, 2));
    for i in 0..32 {
        out[i] = f32::from(quants[i].cast_signed()) * d;
    }
}
