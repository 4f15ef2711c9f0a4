//! Single floats in the formats that scales are stored in.

use super::Component;
use super::codes::e4m3;
use crate::{Error, format::elements::half};

/// How scales are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FloatFormat {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// A power of two: the exponent with bias 127, 255 for NaN. As `F8_E8M0`, or as `U8` where the scheme says so.
    E8M0,
    /// An 8-bit float without infinities, `F8_E4M3`.
    E4M3,
}

impl FloatFormat {
    /// Bytes per float.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::E8M0 | Self::E4M3 => 1,
        }
    }
}

/// Floats, one after another. No alignment is needed.
#[derive(Debug, Clone, Copy)]
pub struct Floats<'a> {
    /// Format of each.
    pub format: FloatFormat,
    /// Their bytes.
    pub bytes: &'a [u8],
}

impl Floats<'_> {
    /// Refuses another number of floats than `count`.
    pub(super) fn check(&self, component: Component, count: usize) -> Result<(), Error> {
        component.holds(self.bytes, count, self.format.bytes())
    }

    /// Float `index`; NaN where there is none, which the checks rule out.
    #[inline]
    pub(super) fn get(&self, index: usize) -> f32 {
        let mut value = [f32::NAN];
        self.read(index, &mut value);
        value[0]
    }

    /// Decodes the floats from `first` on.
    #[inline]
    pub(super) fn read(&self, first: usize, out: &mut [f32]) {
        let from = |size: usize| self.bytes.get(first * size..).unwrap_or_default();
        match self.format {
            FloatFormat::F32 => put(from(4), out, f32::from_le_bytes),
            FloatFormat::F16 => put(from(2), out, half),
            FloatFormat::Bf16 => {
                put(from(2), out, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16));
            }
            FloatFormat::E8M0 => put(from(1), out, |[code]| e8m0(code)),
            FloatFormat::E4M3 => put(from(1), out, |[code]| e4m3(code)),
        }
    }
}

#[inline]
fn put<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (out, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = value(bytes);
    }
}

/// 2^(code − 127): the exponent of an f32 as it is, subnormal for the lowest.
pub const fn e8m0(code: u8) -> f32 {
    f32::from_bits(match code {
        0 => 0x0040_0000,
        255 => 0x7fc0_0000,
        _ => (code as u32) << 23,
    })
}
