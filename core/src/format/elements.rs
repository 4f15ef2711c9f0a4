//! Formats that store every element for itself.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

/// A format of one element per `N` bytes.
pub trait Format<const N: usize> {
    /// The element's value in f32.
    fn value(bytes: [u8; N]) -> f32;
}

pub struct F32;
pub struct F16;
pub struct Bf16;
pub struct F64;

impl Format<4> for F32 {
    #[inline(always)]
    fn value(bytes: [u8; 4]) -> f32 {
        f32::from_le_bytes(bytes)
    }
}

impl Format<2> for Bf16 {
    #[inline(always)]
    fn value(bytes: [u8; 2]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
    }
}

impl Format<8> for F64 {
    #[inline(always)]
    fn value(bytes: [u8; 8]) -> f32 {
        f64::from_le_bytes(bytes) as f32
    }
}

impl Format<2> for F16 {
    /// Without branches, so that it vectorises: exponent and fraction moved into place and multiplied by
    /// 2¹¹² come out right for normal and subnormal numbers; infinity and NaN get their exponent set.
    #[inline(always)]
    fn value(bytes: [u8; 2]) -> f32 {
        const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
        const EXPONENT: u32 = 0x7f80_0000;
        let bits = u32::from(u16::from_le_bytes(bytes));
        let magnitude = (f32::from_bits((bits & 0x7fff) << 13) * REBIAS).to_bits();
        let special = if bits & 0x7c00 == 0x7c00 { EXPONENT } else { 0 };
        f32::from_bits(magnitude | special | (bits & 0x8000) << 16)
    }
}

/// The value of one f16.
#[cfg(any(feature = "blocks", feature = "quantized"))]
#[inline(always)]
pub fn half(bytes: [u8; 2]) -> f32 {
    F16::value(bytes)
}
