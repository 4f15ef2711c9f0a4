//! IQ1_S and IQ1_M: eight weights are a vector of −1, 0 and 1, moved by an eighth, groups of 16 or 32 have a scale
//! of 3 bits.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    fields::{field, scale},
    grids::IQ1,
};
use crate::format::elements::half;

/// Per group of 32, a u16 holds the upper three bits of the four indices, the scale, and the direction of the move.
#[inline(always)]
pub fn iq1_s(block: &[u8; 50], out: &mut [f32; 256]) {
    let (d, low) = (scale(block, 0), field::<32>(block, 2).as_chunks::<4>().0);
    let rest = field::<16>(block, 34).as_chunks::<2>().0;
    for ((out, low), rest) in out.as_chunks_mut::<32>().0.iter_mut().zip(low).zip(rest) {
        let rest = u16::from_le_bytes(*rest);
        let d = d * f32::from(2 * (rest >> 12 & 7) + 1);
        for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let high = usize::from(rest >> (3 * at) & 7);
            vector(usize::from(low[at]) | high << 8, rest >> 15 == 1, d, out);
        }
    }
}

/// Per eight weights, four bits hold the upper three of the index and the direction of the move. Four u16 hold four
/// scales of 3 bits each, and a quarter of the f16 over all.
#[inline(always)]
pub fn iq1_m(block: &[u8; 56], out: &mut [f32; 256]) {
    let (low, rest) = (field::<32>(block, 0), field::<16>(block, 32));
    let scales = field::<8>(block, 48).as_chunks::<2>().0;
    let mut d = 0;
    for (i, scales) in scales.iter().enumerate() {
        d |= (u16::from_le_bytes(*scales) >> 12) << (4 * i);
    }
    let d = half(d.to_le_bytes());
    for (at, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let group = at / 2;
        let scale = u16::from_le_bytes(*field(scales.as_flattened(), group / 4 * 2)) >> (group % 4 * 3) & 7;
        let rest = rest[at / 2] >> (at % 2 * 4);
        let chosen = usize::from(low[at]) | usize::from(rest & 7) << 8;
        vector(chosen, rest >> 3 & 1 == 1, d * f32::from(2 * scale + 1), out);
    }
}

#[inline(always)]
fn vector(chosen: usize, down: bool, d: f32, out: &mut [f32; 8]) {
    let shift = if down { -0.125 } else { 0.125 };
    let (packed, mut values) = (i32::from(IQ1[chosen % IQ1.len()]), [0.0; 8]);
    for i in 0..8 {
        values[i] = d * (((packed >> (2 * i) & 3) - 1) as f32 + shift);
    }
    *out = values;
}
