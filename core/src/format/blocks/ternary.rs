//! TQ1_0 and TQ2_0: −1, 0 or 1, and one scale for 256 weights.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::fields::{field, scale};

/// Powers of three bring each of a byte's five digits to the front.
const POWERS: [u8; 5] = [1, 3, 9, 27, 81];

/// A byte is the fraction, in 256ths, whose digits to base 3 are the weights plus one: 32 bytes hold 160
/// weights, 16 bytes 80, and four bytes of four digits the last 16.
#[inline(always)]
pub fn tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    let d = scale(block, 52);
    digits(field::<32>(block, 0), d, &mut out[..160]);
    digits(field::<16>(block, 32), d, &mut out[160..240]);
    digits(field::<4>(block, 48), d, &mut out[240..]);
}

/// First the first digit of every byte, then the second…
#[inline(always)]
fn digits<const N: usize>(packed: &[u8; N], d: f32, out: &mut [f32]) {
    for (out, power) in out.as_chunks_mut::<N>().0.iter_mut().zip(POWERS) {
        for i in 0..N {
            let digit = (u16::from(packed[i].wrapping_mul(power)) * 3) >> 8;
            out[i] = f32::from(digit.cast_signed() - 1) * d;
        }
    }
}

/// Four planes of 32 bytes hold 128 weights.
#[inline(always)]
pub fn tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    let (quants, d) = (field::<64>(block, 0), scale(block, 64));
    for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let quants = field::<32>(quants, group / 4 * 32);
        for i in 0..32 {
            out[i] = f32::from(i16::from(quants[i] >> (group % 4 * 2) & 3) - 1) * d;
        }
    }
}
