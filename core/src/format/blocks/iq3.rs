//! IQ3_XXS and IQ3_S: four weights are a vector of eight magnitudes with signs, groups of 32 have a scale of
//! 4 bits.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    fields::{field, scale},
    grids::{IQ3_S, IQ3_XXS, ONES, even_signs, fours, put_signed},
};

/// All indices in bytes; then, per group, four times seven signs and the scale in a u32.
#[inline(always)]
pub fn iq3_xxs(block: &[u8; 98], out: &mut [f32; 256]) {
    let (d, chosen) = (scale(block, 0), field::<64>(block, 2).as_chunks::<8>().0);
    let rest = field::<32>(block, 66).as_chunks::<4>().0;
    for ((out, chosen), rest) in out.as_chunks_mut::<32>().0.iter_mut().zip(chosen).zip(rest) {
        let rest = u32::from_le_bytes(*rest);
        let d = d * (0.5 + (rest >> 28) as f32) * 0.5;
        for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let packed = [0, 1].map(|half| IQ3_XXS[usize::from(chosen[2 * at + half])]);
            let digits = fours(packed);
            // Twice one more where a digit is 7.
            let values = 4 * ONES + 8 * digits + 2 * (((digits + ONES) >> 3) & ONES);
            put_signed(values, even_signs(rest >> (7 * at)), d, out);
        }
    }
}

/// Nine bits of index, the highest apart, and eight signs.
#[inline(always)]
pub fn iq3_s(block: &[u8; 110], out: &mut [f32; 256]) {
    let (d, low, high) = (scale(block, 0), field::<64>(block, 2), field::<8>(block, 66));
    let (signs, scales) = (field::<32>(block, 74), field::<4>(block, 106));
    for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let group = at / 4;
        let scale = scales[group / 2] >> (group % 2 * 4) & 15;
        let d = d * f32::from(1 + 2 * scale);
        let mut packed = [0; 2];
        for half in 0..2 {
            let four = 2 * at + half;
            packed[half] = IQ3_S[usize::from(low[four]) | usize::from(high[group] >> (four % 8) & 1) << 8];
        }
        put_signed(ONES + 2 * fours(packed), signs[at], d, out);
    }
}
