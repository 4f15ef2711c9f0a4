//! What an instruction set provides, and what an operation is.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    formats::Float,
    portable::Lanes,
    tiles::{DifferenceTile, MergeTile, ProductTile, StripTile},
    vector::Vector,
};
use crate::format::convert::{ByInteger, Convert};

/// An instruction set with vectors: the choices that its operations are compiled with.
pub trait Isa {
    /// What the loops are written in.
    type Vector: Vector;
    /// How the products decode bf16.
    type Bf16: Float<Self::Vector>;
    /// Conversions of the loops that the compiler vectorises.
    type Convert: Convert;
    /// Sums of both products of a strip: rows × vectors, [`LANES`](super::LANES) elements wide.
    type StripTile: StripTile + DifferenceTile<Self::Vector>;
    /// Sums of rows that are merged.
    type MergeTile: MergeTile<Self::Vector>;
    /// Sums of a thin product, 8 and 16 elements wide.
    type ProductTile8: ProductTile;
    type ProductTile16: ProductTile;

    /// Measures entries of a row as [`portable::measure`](super::portable::measure) does, [`LANES`](super::LANES) at a time, an even number of times; gives how many
    /// were measured: 0 where that is left to the compiler.
    ///
    /// # Safety
    /// `values` holds `count` times [`LANES`](super::LANES) entries, `gap` elements from one to the next; the processor has the features.
    #[inline(always)]
    unsafe fn measure(_values: &[f32], _gap: usize, _count: usize, _lanes: &mut Lanes) -> usize {
        0
    }

    /// Transposes a square of [`SQUARE`] × `SQUARE` elements.
    ///
    /// # Safety
    /// Both sides have rows of so many elements, `from.1` and `to.1` apart; the processor has the features.
    #[inline(always)]
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
        // SAFETY: the caller's promise.
        unsafe {
            for i in 0..SQUARE {
                for j in 0..SQUARE {
                    *to.0.add(j * to.1 + i) = *from.0.add(i * from.1 + j);
                }
            }
        }
    }
}

/// Rows and columns that [`Isa::transpose`] takes.
pub const SQUARE: usize = 8;

/// An operation: a type that holds its operands, which were checked when it was made.
pub trait Op {
    type Output;
    /// In safe Rust, by which the others are judged.
    fn portable(self) -> Self::Output;
    /// With the vectors of `I`. Always inlined into the function that has the features. All that it calls must be
    /// `#[inline(always)]` too. Functions and closures are not passed as values: they would be compiled without the features.
    ///
    /// # Safety
    /// The processor has the features of `I`.
    unsafe fn run<I: Isa>(self) -> Self::Output;
}

/// An operation whose loops are safe Rust for all instruction sets: compilers vectorise them for each.
pub trait AutoVectorized {
    type Output;
    fn run<C: Convert>(self) -> Self::Output;
}

impl<A: AutoVectorized> Op for A {
    type Output = A::Output;
    #[inline(always)]
    fn portable(self) -> A::Output {
        AutoVectorized::run::<ByInteger>(self)
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> A::Output {
        AutoVectorized::run::<I::Convert>(self)
    }
}
