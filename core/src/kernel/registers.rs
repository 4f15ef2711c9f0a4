//! Sums that a loop keeps in registers: an array of rows of vectors. Its size, which each instruction set chooses, makes the
//! loops.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    Ahead, Lines, Strided, Strip, Tile,
    formats::{Sink, Source},
    fresh,
    merge::{self, Stored},
    thin, tile,
    vector::Vector,
};

/// `[[V; NV]; MR]`: `MR` rows of `NV` vectors.
pub trait Registers {
    type Vector: Vector;

    /// Lanes of Y += D·X, as [`Kernel::forward`](super::Kernel::forward) has them.
    ///
    /// # Safety
    /// The operands hold their shapes; the processor has the vector's features. So for all below.
    unsafe fn forward<const W: usize>(d: Strip<'_>, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>);

    /// Z += Dᵀ·Y, as [`Kernel::backward`](super::Kernel::backward) has it.
    ///
    /// # Safety
    /// See [`Registers::forward`].
    unsafe fn backward<const W: usize>(d: Strip<'_>, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>);

    /// D = tuned − base in whole chunks, and [`Registers::forward`] with them; where `LAID`, D is the base before.
    ///
    /// # Safety
    /// See [`Registers::forward`].
    unsafe fn fresh<S: Source<Self::Vector>, const W: usize, const LAID: bool>(
        sides: [Lines<'_>; 2],
        cols: usize,
        data: &mut [f32],
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Ahead<'_>,
    );

    /// C += A·X, `NV` vectors wide.
    ///
    /// # Safety
    /// See [`Registers::forward`].
    unsafe fn product(a: Strided<'_>, rows: usize, depth: usize, x: &[f32], c: &mut [f32]);

    /// W += Yᵀ·D into stored rows.
    ///
    /// # Safety
    /// See [`Registers::forward`].
    unsafe fn merge<S: Sink<Self::Vector>, const W: usize>(
        tile: Tile<'_>,
        y: &[f32],
        weights: Stored,
        ahead: &mut Ahead<'_>,
    );
}

impl<V: Vector, const MR: usize, const NV: usize> Registers for [[V; NV]; MR] {
    type Vector = V;

    #[inline(always)]
    unsafe fn forward<const W: usize>(d: Strip<'_>, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>) {
        // SAFETY: the caller's promise, here and below.
        unsafe { tile::forward::<V, MR, NV, W>(d, x, y, ahead) }
    }

    #[inline(always)]
    unsafe fn backward<const W: usize>(d: Strip<'_>, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>) {
        // SAFETY: as above.
        unsafe { tile::backward::<V, MR, NV, W>(d, y, z, ahead) }
    }

    #[inline(always)]
    unsafe fn fresh<S: Source<V>, const W: usize, const LAID: bool>(
        sides: [Lines<'_>; 2],
        cols: usize,
        data: &mut [f32],
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Ahead<'_>,
    ) {
        // SAFETY: as above.
        unsafe { fresh::fresh::<V, S, MR, NV, W, LAID>(sides, cols, data, x, y, ahead) }
    }

    #[inline(always)]
    unsafe fn product(a: Strided<'_>, rows: usize, depth: usize, x: &[f32], c: &mut [f32]) {
        // SAFETY: as above.
        unsafe { thin::product::<V, MR, NV>(a, rows, depth, x, c) }
    }

    #[inline(always)]
    unsafe fn merge<S: Sink<V>, const W: usize>(
        tile: Tile<'_>,
        y: &[f32],
        weights: Stored,
        ahead: &mut Ahead<'_>,
    ) {
        // SAFETY: as above.
        unsafe { merge::merge_rows::<V, S, MR, NV, W>(tile, y, weights, ahead) }
    }
}
