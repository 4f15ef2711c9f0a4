//! A byte per weight, times the scale of its block: FP8 as of DeepSeek, compressed-tensors, fbgemm and MXFP8, and 8-bit integers.

use super::Component;
use super::codes::{self, E4M3, E5M2};
use super::scales::{Scales, shift_and_scale};
use crate::{Error, Shape};

/// Formats of 8-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fp8Format {
    /// Four bits of exponent, no infinities; 0x7f and 0xff are NaN. `F8_E4M3`, torch's `float8_e4m3fn`.
    E4M3,
    /// Five bits of exponent, infinities and NaN as f16. `F8_E5M2`.
    E5M2,
}

/// 8-bit floats: code × scale.
#[derive(Debug, Clone, Copy)]
pub struct Fp8<'a> {
    /// `weight`, [rows, columns].
    pub weight: &'a [u8],
    /// Format of the weights.
    pub format: Fp8Format,
    /// `weight_scale` or `weight_scale_inv`; both are multiplied with. Without, the codes are the weights.
    pub scales: Option<Scales<'a>>,
}

/// 8-bit integers: (code − zero point) × scale.
#[derive(Debug, Clone, Copy)]
pub struct Int8<'a> {
    /// `weight`, I8 [rows, columns].
    pub weight: &'a [u8],
    /// `weight_scale`.
    pub scales: Scales<'a>,
    /// `weight_zero_point`, I8, as many as there are scales.
    pub zero_points: Option<&'a [u8]>,
}

impl Fp8<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        Component::Weight.holds(self.weight, shape.rows * shape.cols, 1)?;
        self.scales.map_or(Ok(()), |scales| scales.check(shape))
    }

    pub(super) fn bytes(&self) -> usize {
        self.weight.len() + self.scales.map_or(0, |scales| scales.values.bytes.len())
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let stored = self.weight.chunks(shape.cols).skip(first);
        for ((row, stored), out) in (first..).zip(stored).zip(out.chunks_mut(shape.cols)) {
            match self.format {
                Fp8Format::E4M3 => codes::bytes(stored, out, |code| E4M3[usize::from(code)]),
                Fp8Format::E5M2 => codes::bytes(stored, out, |code| E5M2[usize::from(code)]),
            }
            if let Some(scales) = self.scales {
                scales.apply(row, out, |scale| scale);
            }
        }
    }
}

impl Int8<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        Component::Weight.holds(self.weight, shape.rows * shape.cols, 1)?;
        self.scales.check(shape)?;
        let scales = self.scales.values.bytes.len() / self.scales.values.format.bytes();
        self.zero_points.map_or(Ok(()), |zero_points| Component::ZeroPoints.holds(zero_points, scales, 1))
    }

    pub(super) fn bytes(&self) -> usize {
        self.weight.len() + self.scales.values.bytes.len() + self.zero_points.map_or(0, <[u8]>::len)
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let signed = |code: u8| f32::from(code.cast_signed());
        let stored = self.weight.chunks(shape.cols).skip(first);
        for ((row, stored), out) in (first..).zip(stored).zip(out.chunks_mut(shape.cols)) {
            codes::bytes(stored, out, signed);
            self.scales.for_each(row, out, |index, out| {
                let zero =
                    self.zero_points.and_then(|zeros| zeros.get(index)).map_or(0.0, |&zero| signed(zero));
                shift_and_scale(out, zero, self.scales.values.get(index));
            });
        }
    }
}
