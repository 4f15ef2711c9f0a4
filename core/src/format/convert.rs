//! Conversions that some processors have instructions for.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]
#![cfg_attr(feature = "blocks", expect(clippy::cast_sign_loss, reason = "integers are stored as bytes"))]

use super::elements::{F16, Format};

/// The bits of f32 without the sign.
#[cfg(feature = "blocks")]
pub const MAGNITUDE: u32 = 0x7fff_ffff;

/// Conversions that some processors have instructions for: by integers in general.
pub trait Convert {
    /// The values of eight f16.
    fn widen(bytes: &[u8; 16]) -> [f32; 8];
    /// Eight values rounded to f16, to nearest, ties to even.
    fn narrow(values: &[f32; 8]) -> [u8; 16];
    /// The bits of the largest magnitude; those of a NaN are larger than all others.
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn largest(values: &[f32; 32]) -> u32 {
        largest(values)
    }
    /// The first of the values that have the largest magnitude, which has the bits `largest`.
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn first_largest(values: &[f32; 32], largest: u32) -> f32 {
        first_largest(values, largest)
    }
    /// Writes values times `factor` plus `zero`, from 0 up, without their fractions and at most 15: in each byte one of the
    /// first half below one of the second.
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn nibbles(values: &[f32; 32], factor: f32, zero: f32, out: &mut [u8; 16]) {
        nibbles(values, factor, zero, out);
    }
    /// Writes values times `factor`, of magnitudes up to 127, rounded to the nearest integer, halves away from zero.
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn bytes(values: &[f32; 32], factor: f32, out: &mut [u8; 32]) {
        bytes(values, factor, out);
    }
}

/// The conversion that every processor can do.
pub struct ByInteger;

impl Convert for ByInteger {
    #[inline(always)]
    fn widen(bytes: &[u8; 16]) -> [f32; 8] {
        let mut out = [0.0; 8];
        for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = F16::value(bytes);
        }
        out
    }
    #[inline(always)]
    fn narrow(values: &[f32; 8]) -> [u8; 16] {
        let mut out = [0; 16];
        for (out, &value) in out.as_chunks_mut().0.iter_mut().zip(values) {
            *out = half::f16::from_f32(value).to_le_bytes();
        }
        out
    }
}

/// [`Convert::largest`] without instructions of its own.
#[cfg(feature = "blocks")]
#[inline(always)]
fn largest(values: &[f32; 32]) -> u32 {
    values.iter().fold(0, |most, value| most.max(value.to_bits() & MAGNITUDE))
}

/// [`Convert::first_largest`] without instructions of its own.
#[cfg(feature = "blocks")]
#[inline(always)]
fn first_largest(values: &[f32; 32], largest: u32) -> f32 {
    values.iter().find(|value| value.to_bits() & MAGNITUDE == largest).copied().unwrap_or(0.0)
}

/// [`Convert::nibbles`] without instructions of its own.
#[cfg(feature = "blocks")]
#[inline(always)]
fn nibbles(values: &[f32; 32], factor: f32, zero: f32, out: &mut [u8; 16]) {
    let four_bits = |value: f32| truncate(value * factor + zero).min(15) as u8;
    for (i, out) in out.iter_mut().enumerate() {
        *out = four_bits(values[i]) | four_bits(values[i + 16]) << 4;
    }
}

/// [`Convert::bytes`] without instructions of its own.
#[cfg(feature = "blocks")]
#[inline(always)]
fn bytes(values: &[f32; 32], factor: f32, out: &mut [u8; 32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = round(value * factor) as u8;
    }
}

/// Added to a number far smaller than it, it leaves the nearest integer, ties to even, in the lowest bits: what a cast
/// would do one number at a time.
#[cfg(feature = "blocks")]
const MAGIC: f32 = 12_582_912.0;

/// The nearest integer and the same as f32, ties to even.
#[cfg(feature = "blocks")]
#[inline(always)]
fn nearest(value: f32) -> (i32, f32) {
    let shifted = value + MAGIC;
    (shifted.to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed(), shifted - MAGIC)
}

/// To the nearest integer, halves away from zero.
#[cfg(feature = "blocks")]
#[inline(always)]
fn round(value: f32) -> i32 {
    let (integer, whole) = nearest(value);
    let rest = value - whole;
    integer + i32::from(rest == 0.5 && value > 0.0) - i32::from(rest == -0.5 && value < 0.0)
}

/// Without the fraction, for what is not negative.
#[cfg(feature = "blocks")]
#[inline(always)]
fn truncate(value: f32) -> i32 {
    let (integer, whole) = nearest(value);
    integer - i32::from(whole > value)
}
