//! Encoding into Q4_1, Q5_0, Q5_1 and IQ4_NL, a block after the other.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]
#![expect(clippy::cast_sign_loss, reason = "the integers are from 0 to 31")]

use super::super::blocks::NON_LINEAR;
use super::{LEN, is_finite};
use half::f16;

/// A format of blocks of `B` bytes.
pub trait Block<const B: usize> {
    /// Writes a block of numbers.
    fn write(values: &[f32; LEN], out: &mut [u8; B]);
}

/// 4 bits from the least value up.
pub struct Q4_1;
/// As Q4_0 with 5 bits: the value of the largest magnitude, the first of them, becomes −16.
pub struct Q5_0;
/// 5 bits from the least value up.
pub struct Q5_1;
/// The nearest of 16 values, at the scale of least error where every value counts by its square.
pub struct Iq4Nl;

/// Below this magnitude ggml's IQ4_NL takes a block for zeros.
const NOTHING: f32 = 1e-15;

/// Encodes blocks; one with an entry that is no number decodes to NaN throughout.
#[inline(always)]
pub fn encode_each<F: Block<B>, const B: usize>(values: &[[f32; LEN]], blocks: &mut [[u8; B]]) {
    for (values, block) in values.iter().zip(blocks) {
        if values.iter().fold(true, |all, &value| all & is_finite(value)) {
            F::write(values, block);
        } else {
            block.fill(0);
            put(block, 0, f16::NAN.to_le_bytes());
        }
    }
}

impl Block<20> for Q4_1 {
    #[inline(always)]
    fn write(values: &[f32; LEN], out: &mut [u8; 20]) {
        let (scale, least, integers) = from_the_least(values, 15);
        put(out, 0, half_of(scale));
        put(out, 2, f16::from_f32(least).to_le_bytes());
        put(out, 4, nibbles(&integers));
    }
}

impl Block<24> for Q5_1 {
    #[inline(always)]
    fn write(values: &[f32; LEN], out: &mut [u8; 24]) {
        let (scale, least, integers) = from_the_least(values, 31);
        put(out, 0, half_of(scale));
        put(out, 2, f16::from_f32(least).to_le_bytes());
        put(out, 4, fifth_bits(&integers));
        put(out, 8, nibbles(&integers));
    }
}

impl Block<22> for Q5_0 {
    #[inline(always)]
    fn write(values: &[f32; LEN], out: &mut [u8; 22]) {
        let scale = first_largest(values) / -16.0;
        let inverse = inverse(scale);
        let mut integers = [if scale == 0.0 { 16 } else { 0 }; LEN];
        if inverse != 0.0 {
            for (integer, value) in integers.iter_mut().zip(values) {
                *integer = ((value * inverse + 16.5) as i32).min(31) as u8;
            }
        }
        put(out, 0, half_of(scale));
        put(out, 2, fifth_bits(&integers));
        put(out, 6, nibbles(&integers));
    }
}

impl Block<18> for Iq4Nl {
    #[inline(always)]
    fn write(values: &[f32; LEN], out: &mut [u8; 18]) {
        let largest = first_largest(values);
        // The place of the value 1: zeros keep their sign.
        let (mut scale, mut integers) = (0.0, [8; LEN]);
        if largest.abs() >= NOTHING {
            let inverse = 1.0 / (largest / f32::from(NON_LINEAR[0]));
            let (mut product, mut square) = (0.0_f32, 0.0_f32);
            for (integer, &value) in integers.iter_mut().zip(values) {
                *integer = nearest(value * inverse);
                let level = f32::from(NON_LINEAR[usize::from(*integer)]);
                let weight = value * value;
                product += weight * level * value;
                square += weight * level * level;
            }
            scale = if square > 0.0 { product / square } else { 0.0 };
        }
        put(out, 0, half_of(scale));
        put(out, 2, nibbles(&integers));
    }
}

/// The scale, the least value and integers from 0 to `most` from it up.
#[inline(always)]
fn from_the_least(values: &[f32; LEN], most: u8) -> (f32, f32, [u8; LEN]) {
    let (mut least, mut largest) = (f32::MAX, f32::MIN);
    for &value in values {
        least = if value < least { value } else { least };
        largest = if value > largest { value } else { largest };
    }
    let scale = (largest - least) / f32::from(most);
    let inverse = inverse(scale);
    let mut integers = [0; LEN];
    for (integer, value) in integers.iter_mut().zip(values) {
        *integer = (((value - least) * inverse + 0.5) as i32).min(i32::from(most)) as u8;
    }
    (scale, least, integers)
}

/// 0 where there is none: as ggml has it on x86-64, all integers are 0 then.
#[inline(always)]
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if is_finite(scale) && is_finite(inverse) { inverse } else { 0.0 }
}

/// The place of the value of IQ4_NL that is nearest; the upper one of two.
#[inline(always)]
fn nearest(value: f32) -> u8 {
    let mut place = 0;
    for pair in NON_LINEAR.windows(2) {
        place += u8::from(value - f32::from(pair[0]) >= f32::from(pair[1]) - value);
    }
    place
}

/// The first value of the largest magnitude; +0 of zeros.
#[inline(always)]
fn first_largest(values: &[f32; LEN]) -> f32 {
    let mut first = 0.0_f32;
    for &value in values {
        first = if value.abs() > first.abs() { value } else { first };
    }
    first
}

/// A scale as it is stored: NaN where it is no number.
#[inline(always)]
fn half_of(scale: f32) -> [u8; 2] {
    f16::from_f32(if is_finite(scale) { scale } else { f32::NAN }).to_le_bytes()
}

/// The lower four bits: in each byte one of the first half below one of the second.
#[inline(always)]
fn nibbles(integers: &[u8; LEN]) -> [u8; LEN / 2] {
    let mut out = [0; LEN / 2];
    for (i, out) in out.iter_mut().enumerate() {
        *out = integers[i] & 15 | integers[i + LEN / 2] << 4;
    }
    out
}

/// The fifth bits, the first integer's in the lowest place.
#[inline(always)]
fn fifth_bits(integers: &[u8; LEN]) -> [u8; 4] {
    let bits = integers.iter().enumerate().map(|(i, &integer)| u32::from(integer >> 4 & 1) << i);
    bits.fold(0, |all, bit| all | bit).to_le_bytes()
}

#[inline(always)]
fn put<const B: usize, const N: usize>(out: &mut [u8; B], at: usize, bytes: [u8; N]) {
    if let Some(place) = out.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}
