//! Quantised checkpoints whose weights consist of several tensors.
//!
//! A [`Scheme`] borrows the stored tensors of one weight, as little-endian bytes. [`Quantized::new`] checks all lengths,
//! sizes and indices once; after that [`Quantized::decode`] writes any range of rows in f32 and fails only on a wrong range.
//! The bits of a row do not depend on the rows that are decoded with it.
//!
//! Rows and columns are those of the dequantised weight, [out, in]. Every scheme gives the bits that the library which
//! defines it computes in f32; where that library rounds the result to bf16 or f16, it is the value before that rounding.
//!
//! A stack of matrices, as of experts, whose scheme goes row by row ([`Fp8`] with scales per row, [`Int8`], [`Mxfp4`],
//! [`Packed`] without zero points) is one matrix with the rows of all.
//!
//! ```
//! use phlora_core::{Shape, quantized::{FloatFormat, Floats, Fp8, Fp8Format, Quantized, Scales, Scheme}};
//!
//! let shape = Shape { rows: 2, cols: 3 };
//! let scales = [0.5_f32, 2.0].map(f32::to_le_bytes).concat();
//! let fp8 = Fp8 {
//!     weight: &[0x38, 0xb8, 0x40, 0x38, 0x01, 0x7e],
//!     format: Fp8Format::E4M3,
//!     scales: Some(Scales::per_row(Floats { format: FloatFormat::F32, bytes: &scales })),
//! };
//! let matrix = Quantized::new(shape, Scheme::Fp8(fp8))?;
//! let mut out = [0.0; 6];
//! matrix.decode(0..2, &mut out)?;
//! assert_eq!(out, [0.5, -0.5, 1.0, 2.0, 0.00390625, 896.0]);
//! # Ok::<(), phlora_core::Error>(())
//! ```

mod awq;
mod bitsandbytes;
mod check;
mod codes;
mod columns;
pub mod compact;
mod floats;
mod fp4;
mod gptq;
mod packed;
mod scaled;
mod scales;

use core::ops::Range;

pub use crate::fault::{Component, Fault};
pub use awq::Awq;
pub use bitsandbytes::{Absmax, BnbFourBit, BnbInt8};
pub use compact::Compact;
pub use floats::{FloatFormat, Floats};
pub use fp4::{GlobalScale, Mxfp4, Nvfp4};
pub use gptq::Gptq;
pub use packed::Packed;
pub use scaled::{Fp8, Fp8Format, Int8};
pub use scales::Scales;

use crate::{Error, Shape};

/// The stored tensors of one weight, and what the configuration says about them.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Scheme<'a> {
    /// 8-bit floats with scales of any blocks.
    Fp8(Fp8<'a>),
    /// 8-bit integers with scales of any blocks: compressed-tensors' `int-quantized`.
    Int8(Int8<'a>),
    /// E2M1 with a power of two per 32 weights.
    Mxfp4(Mxfp4<'a>),
    /// E2M1 with an E4M3 per 16 weights and a scale for all.
    Nvfp4(Nvfp4<'a>),
    /// Integers of 2, 4 or 8 bits: compressed-tensors' `pack-quantized`.
    Packed(Packed<'a>),
    /// NF4 and FP4 of bitsandbytes.
    BnbFourBit(BnbFourBit<'a>),
    /// LLM.int8 of bitsandbytes.
    BnbInt8(BnbInt8<'a>),
    /// GPTQ, packed along the inputs.
    Gptq(Gptq<'a>),
    /// AWQ in its GEMM layout, packed along the outputs.
    Awq(Awq<'a>),
    /// A factor of an adapter in phlora's compact form.
    Compact(Compact<'a>),
}

/// Runs the same call on whichever scheme it is.
macro_rules! each {
    ($scheme:expr, $stored:ident => $call:expr) => {
        match $scheme {
            Scheme::Fp8($stored) => $call,
            Scheme::Int8($stored) => $call,
            Scheme::Mxfp4($stored) => $call,
            Scheme::Nvfp4($stored) => $call,
            Scheme::Packed($stored) => $call,
            Scheme::BnbFourBit($stored) => $call,
            Scheme::BnbInt8($stored) => $call,
            Scheme::Gptq($stored) => $call,
            Scheme::Awq($stored) => $call,
            Scheme::Compact($stored) => $call,
        }
    };
}

/// A quantised matrix whose components are known to fit together.
#[derive(Debug, Clone, Copy)]
pub struct Quantized<'a> {
    shape: Shape,
    scheme: Scheme<'a>,
}

impl<'a> Quantized<'a> {
    /// Checks that the tensors of `scheme` are those of a weight of `shape`.
    ///
    /// # Errors
    /// [`Error::Quantized`] names the component that does not fit; [`Error::TooLarge`] where rows × columns in f32 overflow.
    pub fn new(shape: Shape, scheme: Scheme<'a>) -> Result<Self, Error> {
        // The sides of an empty matrix have bounds too, which keep later products from overflowing.
        let weights = shape.rows.max(1).checked_mul(shape.cols.max(1));
        let bytes = weights.and_then(|weights| weights.checked_mul(size_of::<f32>()));
        bytes.filter(|&bytes| isize::try_from(bytes).is_ok()).ok_or(Error::TooLarge)?;
        each!(&scheme, stored => stored.check(shape))?;
        Ok(Self { shape, scheme })
    }

    /// Rows of the dequantised weight.
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Columns of the dequantised weight.
    pub const fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Stored bytes of all components per row, rounded up: what decoding a row reads, on average.
    pub fn bytes_per_row(&self) -> usize {
        each!(&self.scheme, stored => stored.bytes()).div_ceil(self.shape.rows.max(1))
    }

    /// Decodes `rows` into `out`, one row after another. Ranges of 32 rows and more suit GPTQ and AWQ, which are stored
    /// by columns: each call reads every cache line of its rows once.
    ///
    /// # Errors
    /// [`Error::RowRange`] for rows that the matrix does not have, [`Error::OutputLength`] where `out` is not exactly as
    /// long as these rows; nothing is written.
    pub fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), Error> {
        if rows.start > rows.end || rows.end > self.shape.rows {
            return Err(Error::RowRange { rows: self.shape.rows });
        }
        let expected = rows.len() * self.shape.cols;
        if out.len() != expected {
            return Err(Error::OutputLength { expected });
        }
        if !out.is_empty() {
            each!(&self.scheme, stored => stored.decode(self.shape, rows.start, out));
        }
        Ok(())
    }
}
