//! IQ4_NL, IQ4_XS and MXFP4: four bits choose one of 16 values.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{field, scale};

/// The values of IQ4_NL and IQ4_XS.
const NON_LINEAR: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of E2M1. There is no negative zero in ggml.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

#[inline(always)]
pub fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    chosen(&NON_LINEAR, scale(block, 0), field(block, 2), out);
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
    chosen(&E2M1, d, field(block, 1), out);
}

#[inline(always)]
fn chosen(values: &[i8; 16], d: f32, quants: &[u8; 16], out: &mut [f32; 32]) {
    for i in 0..16 {
        out[i] = d * f32::from(values[usize::from(quants[i] & 15)]);
        out[i + 16] = d * f32::from(values[usize::from(quants[i] >> 4)]);
    }
}
