//! E2M1 in halves of bytes: MXFP4 and NVFP4.

use super::codes::{self, E2M1};
use super::floats::{FloatFormat, Floats};
use super::scales::Scales;
use super::{Component, check::whole_columns};
use crate::{Error, Shape};

/// MXFP4 of gpt-oss, of compressed-tensors (`mxfp4-pack-quantized`) and of DeepSeek's experts: code × 2^(scale − 127).
///
/// gpt-oss stores [experts, out, in/32, 16]; transformers hands out its experts transposed, [experts, in, out].
#[derive(Debug, Clone, Copy)]
pub struct Mxfp4<'a> {
    /// `…_blocks`, `weight_packed` or `weight`: two weights a byte, the first in the lower half; [rows, columns/2].
    pub weight: &'a [u8],
    /// `…_scales`, `weight_scale` or `weight_scale_inv`: [rows, columns/32] exponents with bias 127, 255 for NaN.
    pub scales: &'a [u8],
}

/// NVFP4: code × (scale × global scale).
#[derive(Debug, Clone, Copy)]
pub struct Nvfp4<'a> {
    /// `weight` or `weight_packed`: two weights a byte, the first in the lower half; [rows, columns/2].
    pub weight: &'a [u8],
    /// `weight_scale`, `F8_E4M3` [rows, columns/16].
    pub scales: &'a [u8],
    /// The scale of all scales.
    pub global: GlobalScale,
}

/// The scale of the scales of a whole matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GlobalScale {
    /// Scales are multiplied by it: `weight_scale_2` of ModelOpt, which has no code for −0.
    Times(f32),
    /// Scales are divided by it: `weight_global_scale` of compressed-tensors.
    Over(f32),
}

/// Weights per scale.
const MXFP4: usize = 32;
const NVFP4: usize = 16;

impl Mxfp4<'_> {
    const fn scales(&self) -> Scales<'_> {
        Scales::groups(Floats { format: FloatFormat::E8M0, bytes: self.scales }, MXFP4)
    }

    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        check(self.weight, &self.scales(), shape)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.weight.len() + self.scales.len()
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        decode(self.weight, (&E2M1, &self.scales()), (shape.cols, first), out, |scale| scale);
    }
}

impl Nvfp4<'_> {
    const fn scales(&self) -> Scales<'_> {
        Scales::groups(Floats { format: FloatFormat::E4M3, bytes: self.scales }, NVFP4)
    }

    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        check(self.weight, &self.scales(), shape)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.weight.len() + self.scales.len()
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let (weight, scales, place) = (self.weight, self.scales(), (shape.cols, first));
        match self.global {
            GlobalScale::Times(global) => {
                let mut values = E2M1;
                values[8] = 0.0;
                decode(weight, (&values, &scales), place, out, |scale| scale * global);
            }
            GlobalScale::Over(global) => decode(weight, (&E2M1, &scales), place, out, |scale| scale / global),
        }
    }
}

fn check(weight: &[u8], scales: &Scales<'_>, shape: Shape) -> Result<(), Error> {
    whole_columns(shape.cols, scales.block.cols)?;
    Component::Weight.holds(weight, shape.rows * (shape.cols / 2), 1)?;
    scales.check(shape)
}

/// Decodes rows of `cols` weights from row `first` on.
fn decode(
    weight: &[u8],
    (values, scales): (&[f32; 16], &Scales<'_>),
    (cols, first): (usize, usize),
    out: &mut [f32],
    change: impl Fn(f32) -> f32,
) {
    let stored = weight.chunks(cols / 2).skip(first);
    for ((row, stored), out) in (first..).zip(stored).zip(out.chunks_mut(cols)) {
        codes::chosen::<false>(values, stored, out);
        scales.apply(row, out, &change);
    }
}
