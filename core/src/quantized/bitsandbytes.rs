//! bitsandbytes: four bits that choose from a map, with a scale per block of consecutive weights, and LLM.int8.

use super::Component;
use super::codes;
use super::floats::{FloatFormat, Floats};
use super::scales::{Scales, multiply};
use crate::{Error, Shape};

/// NF4 or FP4: map\[code\] × absmax. Blocks go on from one row to the next.
#[derive(Debug, Clone, Copy)]
pub struct BnbFourBit<'a> {
    /// `weight`, ⌈rows·columns/2⌉ bytes whatever their dtype: two weights a byte, the first in the upper half.
    pub weight: &'a [u8],
    /// `weight.quant_map`, F32 \[16\].
    pub quant_map: &'a [u8],
    /// `blocksize`: weights per scale.
    pub block_size: usize,
    /// The scales of blocks.
    pub absmax: Absmax<'a>,
}

/// The scales of blocks of weights.
#[derive(Debug, Clone, Copy)]
pub enum Absmax<'a> {
    /// `weight.absmax`, F32.
    Plain(&'a [u8]),
    /// Quantised themselves: map\[code\] × nested absmax + offset.
    Nested {
        /// `weight.absmax`, U8.
        codes: &'a [u8],
        /// `weight.nested_quant_map`, F32 \[256\].
        quant_map: &'a [u8],
        /// `weight.nested_absmax`, F32.
        absmax: &'a [u8],
        /// `nested_blocksize`: scales per scale of scales.
        block_size: usize,
        /// `nested_offset`.
        offset: f32,
    },
}

/// 8-bit integers with a scale per row: code × SCB × 1/127.
#[derive(Debug, Clone, Copy)]
pub struct BnbInt8<'a> {
    /// `weight`, I8 [rows, columns].
    pub weight: &'a [u8],
    /// `SCB`, F32 \[rows\].
    pub scb: &'a [u8],
}

const fn f32s(bytes: &[u8]) -> Floats<'_> {
    Floats { format: FloatFormat::F32, bytes }
}

impl Absmax<'_> {
    fn check(&self, blocks: usize) -> Result<(), Error> {
        match *self {
            Self::Plain(absmax) => f32s(absmax).check(Component::Scales, blocks),
            Self::Nested { codes, quant_map, absmax, block_size, .. } => {
                Component::Scales.holds(codes, blocks, 1)?;
                f32s(quant_map).check(Component::NestedQuantMap, 256)?;
                Component::NestedScales.has_blocks(block_size)?;
                f32s(absmax).check(Component::NestedScales, blocks.div_ceil(block_size))
            }
        }
    }

    fn get(&self, block: usize) -> f32 {
        match *self {
            Self::Plain(absmax) => f32s(absmax).get(block),
            Self::Nested { codes, quant_map, absmax, block_size, offset } => {
                let code = codes.get(block).map_or(0, |&code| usize::from(code));
                f32s(quant_map).get(code) * f32s(absmax).get(block / block_size) + offset
            }
        }
    }
}

impl BnbFourBit<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        let weights = shape.rows * shape.cols;
        Component::Weight.holds(self.weight, weights.div_ceil(2), 1)?;
        f32s(self.quant_map).check(Component::QuantMap, 16)?;
        Component::Scales.has_blocks(self.block_size)?;
        self.absmax.check(weights.div_ceil(self.block_size))
    }

    pub(super) const fn bytes(&self) -> usize {
        self.weight.len()
            + match self.absmax {
                Absmax::Plain(absmax) => absmax.len(),
                Absmax::Nested { codes, absmax, .. } => codes.len() + absmax.len(),
            }
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let mut map = [0.0; 16];
        f32s(self.quant_map).read(0, &mut map);
        let start = first * shape.cols;
        // A row may begin in the lower half of a byte.
        let split = (start % 2).min(out.len());
        let (odd, even) = out.split_at_mut(split);
        if let (Some(odd), Some(&code)) = (odd.first_mut(), self.weight.get(start / 2)) {
            *odd = map[usize::from(code & 15)];
        }
        codes::chosen::<true>(&map, self.weight.get(start.div_ceil(2)..).unwrap_or_default(), even);
        let (mut at, mut rest) = (start, out);
        while !rest.is_empty() {
            let (block, inside) = (at / self.block_size, at % self.block_size);
            let (now, later) = rest.split_at_mut((self.block_size - inside).min(rest.len()));
            multiply(now, self.absmax.get(block));
            (at, rest) = (at + now.len(), later);
        }
    }
}

impl BnbInt8<'_> {
    pub(super) fn check(&self, shape: Shape) -> Result<(), Error> {
        Component::Weight.holds(self.weight, shape.rows * shape.cols, 1)?;
        Scales::per_row(f32s(self.scb)).check(shape)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.weight.len() + self.scb.len()
    }

    pub(super) fn decode(&self, shape: Shape, first: usize, out: &mut [f32]) {
        let stored = self.weight.chunks(shape.cols).skip(first);
        for ((row, stored), out) in (first..).zip(stored).zip(out.chunks_mut(shape.cols)) {
            let scale = f32s(self.scb).get(row);
            // Two products, as bitsandbytes has them.
            codes::bytes(stored, out, |code| f32::from(code.cast_signed()) * scale * (1.0 / 127.0));
        }
    }
}
