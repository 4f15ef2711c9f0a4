//! Q2_K to Q6_K: 256 weights in groups of 16 or 32 with small integers as scales, and one or two f16 over all.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::fields::{field, scale};

/// Groups of 16; a byte holds scale and minimum. A 2-bit plane of 32 bytes holds two groups, four planes 128
/// weights.
#[inline(always)]
pub fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, quants) = (field::<16>(block, 0), field::<64>(block, 16));
    let (d, min) = (scale(block, 80), scale(block, 82));
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let d = d * f32::from(scales[group] & 15);
        let min = min * f32::from(scales[group] >> 4);
        let (quants, shift) = plane::<16, 64>(quants, group);
        let quants = *quants;
        let mut values = [0.0; 16];
        for i in 0..16 {
            values[i] = d * f32::from(quants[i] >> shift & 3) - min;
        }
        *out = values;
    }
}

/// Groups of 16 as in Q2_K; a third bit in a mask that serves all planes.
#[inline(always)]
pub fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (high, quants) = (field::<32>(block, 0), field::<64>(block, 32));
    let (scales, d) = (sixes(field(block, 96)), scale(block, 108));
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let d = d * f32::from(i16::from(scales[group]) - 32);
        let (quants, shift) = plane::<16, 64>(quants, group);
        let (quants, high) = (*quants, *field::<16>(high, group % 2 * 16));
        let mut values = [0.0; 16];
        for i in 0..16 {
            let third = i32::from(high[i]) >> (group / 2) & 1;
            values[i] = d * ((i32::from(quants[i]) >> shift & 3) + 4 * third - 4) as f32;
        }
        *out = values;
    }
}

/// Where the group of `N` weights lies in 2-bit planes of 32 bytes, four to 128 weights: its bytes and shift.
#[inline(always)]
fn plane<const N: usize, const BYTES: usize>(quants: &[u8; BYTES], group: usize) -> (&[u8; N], usize) {
    let first = group * N;
    (field(quants, first / 128 * 32 + first % 32), first % 128 / 32 * 2)
}

/// The 6-bit scales of Q3_K: four bits of each in eight bytes, two in the other four.
#[inline(always)]
fn sixes(packed: &[u8; 12]) -> [u8; 16] {
    let mut out = [0; 16];
    for i in 0..16 {
        let low = packed[i % 8] >> (i / 8 * 4) & 15;
        out[i] = low | (packed[8 + i % 4] >> (i / 4 * 2) & 3) << 4;
    }
    out
}

/// Groups of 32: the low and the high halves of 32 bytes.
#[inline(always)]
pub fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, min) = (scale(block, 0), scale(block, 2));
    let (scales, mins) = scales_and_mins(field(block, 4));
    let quants = field::<128>(block, 16).as_chunks::<32>().0;
    for (pair, (out, quants)) in out.as_chunks_mut::<64>().0.iter_mut().zip(quants).enumerate() {
        let group = 2 * pair;
        let (d1, min1) = (d * f32::from(scales[group]), min * f32::from(mins[group]));
        let (d2, min2) = (d * f32::from(scales[group + 1]), min * f32::from(mins[group + 1]));
        for i in 0..32 {
            out[i] = d1 * f32::from(quants[i] & 15) - min1;
            out[i + 32] = d2 * f32::from(quants[i] >> 4) - min2;
        }
    }
}

/// As Q4_K; a fifth bit in a mask of 32 bytes, one bit of each per group.
#[inline(always)]
pub fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, min) = (scale(block, 0), scale(block, 2));
    let (scales, mins) = scales_and_mins(field(block, 4));
    let (high, quants) = (field::<32>(block, 16), field::<128>(block, 48).as_chunks::<32>().0);
    for (pair, (out, quants)) in out.as_chunks_mut::<64>().0.iter_mut().zip(quants).enumerate() {
        let group = 2 * pair;
        let (d1, min1) = (d * f32::from(scales[group]), min * f32::from(mins[group]));
        let (d2, min2) = (d * f32::from(scales[group + 1]), min * f32::from(mins[group + 1]));
        for i in 0..32 {
            let fifth = high[i] >> group;
            out[i] = d1 * f32::from(quants[i] & 15 | (fifth & 1) << 4) - min1;
            out[i + 32] = d2 * f32::from(quants[i] >> 4 | (fifth >> 1 & 1) << 4) - min2;
        }
    }
}

/// Eight scales and eight minima of 6 bits: four of each as they are with the upper bits of the others above
/// them, then the lower halves of those.
#[inline(always)]
fn scales_and_mins(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for i in 0..4 {
        let (scale, min, low) = (packed[i], packed[i + 4], packed[i + 8]);
        (scales[i], mins[i]) = (scale & 63, min & 63);
        (scales[i + 4], mins[i + 4]) = (low & 15 | scale >> 6 << 4, low >> 4 | min >> 6 << 4);
    }
    (scales, mins)
}

/// Groups of 16. 64 bytes hold the lower halves of 128 weights, 32 bytes their two upper bits.
#[inline(always)]
pub fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high) = (field::<128>(block, 0), field::<64>(block, 128));
    let (scales, d) = (field::<16>(block, 192), scale(block, 208));
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let d = d * f32::from(scales[group].cast_signed());
        let first = group * 16;
        let low = field::<16>(low, first / 128 * 64 + first % 64);
        let low_shift = first % 128 / 64 * 4;
        let (high, shift) = plane::<16, 64>(high, group);
        let (low, high) = (*low, *high);
        let mut values = [0.0; 16];
        for i in 0..16 {
            let quant = low[i] >> low_shift & 15 | (high[i] >> shift & 3) << 4;
            values[i] = d * f32::from(quant.wrapping_sub(32).cast_signed());
        }
        *out = values;
    }
}
