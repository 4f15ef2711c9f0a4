//! IQ2_XXS, IQ2_XS and IQ2_S: eight weights are a vector of 8, 25 and 43 with signs, groups of 16 or 32 have a
//! scale of 4 bits.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    fields::{field, scale},
    grids::{IQ2_S, IQ2_XS, IQ2_XXS, ONES, even_signs, pairs, put_signed},
};

/// Per group of 32: four indices in bytes, then four times seven signs and the scale in a u32.
#[inline(always)]
pub fn iq2_xxs(block: &[u8; 66], out: &mut [f32; 256]) {
    let (d, groups) = (scale(block, 0), field::<64>(block, 2).as_chunks::<8>().0);
    for (out, group) in out.as_chunks_mut::<32>().0.iter_mut().zip(groups) {
        let rest = u32::from_le_bytes(*field(group, 4));
        let d = scaled(d, (rest >> 28) as u8);
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            vector(IQ2_XXS[usize::from(group[i])], even_signs(rest >> (7 * i)), d, out);
        }
    }
}

/// Nine bits of index and seven signs in a u16.
#[inline(always)]
pub fn iq2_xs(block: &[u8; 74], out: &mut [f32; 256]) {
    let (d, chosen) = (scale(block, 0), field::<64>(block, 2).as_chunks::<2>().0);
    let scales = field::<8>(block, 66);
    for (at, (out, chosen)) in out.as_chunks_mut::<8>().0.iter_mut().zip(chosen).enumerate() {
        let chosen = u16::from_le_bytes(*chosen);
        let d = scaled(d, scales[at / 4] >> (at % 4 / 2 * 4) & 15);
        vector(IQ2_XS[usize::from(chosen & 511)], even_signs(u32::from(chosen >> 9)), d, out);
    }
}

/// Ten bits of index, the upper two apart, and eight signs.
#[inline(always)]
pub fn iq2_s(block: &[u8; 82], out: &mut [f32; 256]) {
    let (d, low, signs) = (scale(block, 0), field::<32>(block, 2), field::<32>(block, 34));
    let (high, scales) = (field::<8>(block, 66), field::<8>(block, 74));
    for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let high = usize::from(high[at / 4] >> (at % 4 * 2) & 3);
        let d = scaled(d, scales[at / 4] >> (at % 4 / 2 * 4) & 15);
        vector(IQ2_S[usize::from(low[at]) | high << 8], signs[at], d, out);
    }
}

#[inline(always)]
fn scaled(d: f32, scale: u8) -> f32 {
    d * (0.5 + f32::from(scale)) * 0.25
}

#[inline(always)]
fn vector(packed: u16, signs: u8, d: f32, out: &mut [f32; 8]) {
    let digits = pairs(packed);
    put_signed(8 * ONES + 17 * digits + (digits >> 1 & ONES), signs, d, out);
}
