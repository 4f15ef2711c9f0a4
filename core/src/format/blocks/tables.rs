//! IQ4_NL, IQ4_XS, MXFP4 and NVFP4: four bits choose one of 16 values.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::fields::{field, scale};

/// The values of IQ4_NL and IQ4_XS.
pub const NON_LINEAR: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of E2M1. There is no negative zero in ggml.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

#[inline(always)]
pub fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    chosen(&NON_LINEAR, scale(block, 0), field::<16>(block, 2), out);
}

#[inline(always)]
pub fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = scale(block, 0);
    let (high, low) = (u16::from_le_bytes(*field(block, 2)), field::<4>(block, 4));
    let quants = field::<128>(block, 8).as_chunks::<16>().0;
    for (group, (out, quants)) in out.as_chunks_mut::<32>().0.iter_mut().zip(quants).enumerate() {
        let low = low[group / 2] >> (group % 2 * 4) & 15;
        let scale = i16::from(low) | ((high >> (2 * group) & 3) << 4).cast_signed();
        chosen(&NON_LINEAR, d * f32::from(scale - 32), quants, out);
    }
}

#[inline(always)]
pub fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    // Half of 2^(e − 127), since the table holds twice the values; subnormal for the two lowest exponents.
    let exponent = u32::from(block[0]);
    let d = f32::from_bits(if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 });
    chosen(&E2M1, d, field::<16>(block, 1), out);
}

#[inline(always)]
pub fn nvfp4(block: &[u8; 36], out: &mut [f32; 64]) {
    let (scales, quants) = (field::<4>(block, 0), field::<32>(block, 4).as_chunks::<8>().0);
    for ((out, quants), scale) in out.as_chunks_mut::<16>().0.iter_mut().zip(quants).zip(scales) {
        chosen(&E2M1, e4m3(*scale), quants, out);
    }
}

/// Half of an unsigned E4M3, by moving its bits into an f32 whose exponent is then put right. The bit for the sign
/// counts for nothing, except that 0x7f alone is ggml's NaN, and that one it takes as 0.
#[inline(always)]
fn e4m3(bits: u8) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 119) << 23);
    if bits == 0x7f { 0.0 } else { f32::from_bits(u32::from(bits & 0x7f) << 20) * REBIAS }
}

/// `N` bytes choose 2·`N` values, those of their lower halves first.
#[inline(always)]
fn chosen<const N: usize, const LEN: usize>(
    values: &[i8; 16],
    d: f32,
    quants: &[u8; N],
    out: &mut [f32; LEN],
) {
    for i in 0..N.min(LEN / 2) {
        out[i] = d * f32::from(values[usize::from(quants[i] & 15)]);
        out[i + LEN / 2] = d * f32::from(values[usize::from(quants[i] >> 4)]);
    }
}
