//! The tiles of sums that the loops keep in registers: `[[V; NV]; MR]` is `MR` rows of `NV` vectors. Each instruction set
//! chooses their sizes, an operation's file in `ops/` has the loop.

use super::{
    Lines, Prefetch, RowMajor, Strided, Strip,
    formats::{Sink, Source},
    vector::Vector,
};

/// Sums of both products of a strip.
pub trait StripTile {
    /// Lanes of Y += D·X, as [`Kernel::forward`](super::Kernel::forward) has them.
    ///
    /// # Safety
    /// The operands hold their shapes; the processor has the vector's features. So for all below.
    unsafe fn forward<const W: usize>(d: Strip<'_>, x: &[f32], y: &mut [f32], ahead: &mut Prefetch<'_>);

    /// Z += Dᵀ·Y, as [`Kernel::backward`](super::Kernel::backward) has it.
    ///
    /// # Safety
    /// See [`StripTile::forward`].
    unsafe fn backward<const W: usize>(d: Strip<'_>, y: &[f32], z: &mut [f32], ahead: &mut Prefetch<'_>);
}

/// Sums of the first product of a strip that is decoded on the way.
pub trait DifferenceTile<V: Vector> {
    /// D = tuned − base in whole windows, and [`StripTile::forward`] with them; where `IN_STRIP`, the decoded base lies in
    /// `data` before.
    ///
    /// # Safety
    /// See [`StripTile::forward`].
    unsafe fn difference_forward<S: Source<V>, const W: usize, const IN_STRIP: bool>(
        sides: [Lines<'_>; 2],
        cols: usize,
        data: &mut [f32],
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Prefetch<'_>,
    );
}

/// Sums of a thin product.
pub trait ProductTile {
    /// C += A·X, `NV` vectors wide.
    ///
    /// # Safety
    /// See [`StripTile::forward`].
    unsafe fn product(a: Strided<'_>, rows: usize, depth: usize, x: &[f32], c: &mut [f32]);
}

/// Sums of rows that are merged.
pub trait MergeTile<V: Vector> {
    /// W += Yᵀ·D into stored rows.
    ///
    /// # Safety
    /// See [`StripTile::forward`].
    unsafe fn merge<S: Sink<V>, const W: usize>(
        d: RowMajor<'_>,
        y: &[f32],
        weights: Stored,
        ahead: &mut Prefetch<'_>,
    );
}

/// Stored rows that are merged into: where the first is and where it goes, bytes from one to the next, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    pub from: (*const u8, usize),
    pub to: (*mut u8, usize),
    pub rows: usize,
}

impl Stored {
    /// The rows from `w` on; one beyond the last is neither read nor written.
    #[expect(clippy::inline_always, reason = "compiled again with the features of each caller")]
    #[inline(always)]
    pub fn skip(self, w: usize) -> Self {
        let (from, to) = (self.from.0.wrapping_add(w * self.from.1), self.to.0.wrapping_add(w * self.to.1));
        Self { from: (from, self.from.1), to: (to, self.to.1), ..self }
    }
}
