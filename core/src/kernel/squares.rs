//! Measurements of rows over explicit vectors: sums of squares in f64, and largest magnitudes.

// Only some instruction sets have it.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    LANES,
    portable::Lanes,
    vector::{SOON, Vector},
};

/// A vector that has one of f64 beside it, of half as many lanes.
pub trait Squares: Vector {
    type Wide: Copy;
    /// Reads half of `LANES` elements.
    ///
    /// # Safety
    /// `from` is valid for that many reads; the processor has the type's features. So for all below.
    unsafe fn load_wide(from: *const f64) -> Self::Wide;
    /// Writes them.
    ///
    /// # Safety
    /// See [`Squares::load_wide`].
    unsafe fn store_wide(wide: Self::Wide, to: *mut f64);
    /// Adds the squares of as many elements. They are exact in f64, so that fusing changes no bit. Widened from memory: from a
    /// register it takes twice as many instructions of the processor's own.
    ///
    /// # Safety
    /// See [`Squares::load_wide`].
    unsafe fn add_squares(sum: Self::Wide, from: *const f32) -> Self::Wide;
    /// max(|self|, `most`); `most` where self is NaN.
    ///
    /// # Safety
    /// See [`Squares::load_wide`].
    unsafe fn larger(self, most: Self) -> Self;
}

/// Measures entries as [`portable::measure`](super::portable::measure) does, [`LANES`] at a time, as far as pairs go; gives how many [`LANES`]
/// these are.
///
/// # Safety
/// `values` holds `count` times [`LANES`] entries; `N` vectors, and twice as many of f64, have the lanes of a pair; the processor has the
/// vector's features.
#[inline(always)]
pub unsafe fn measure<V: Squares, const N: usize>(
    values: &[f32],
    gap: usize,
    count: usize,
    lanes: &mut Lanes,
) -> usize {
    let (whole, wide) = (count / 2 * 2, V::LANES / 2);
    let (squares, largest) = (lanes.squares.as_mut_ptr(), lanes.largest.as_mut_ptr());
    // SAFETY: the `i`-th [`LANES`] start at `i * gap`; a pair has as many values as `lanes` has squares and magnitudes.
    unsafe {
        let mut sums = [[V::load_wide(squares); 2]; N];
        let mut most = [V::load(largest); N];
        for v in 0..N {
            sums[v] =
                [V::load_wide(squares.add(2 * v * wide)), V::load_wide(squares.add((2 * v + 1) * wide))];
            most[v] = V::load(largest.add(v * V::LANES));
        }
        for i in (0..whole).step_by(2) {
            let from = values.as_ptr().add(i * gap);
            // Where these are far apart, no processor foresees them.
            V::prefetch_near(from.wrapping_add(SOON * gap).cast());
            V::prefetch_near(from.wrapping_add((SOON + 1) * gap).cast());
            for v in 0..N {
                let at = from.add(v * V::LANES / LANES * gap + v * V::LANES % LANES);
                sums[v] = [V::add_squares(sums[v][0], at), V::add_squares(sums[v][1], at.add(wide))];
                most[v] = V::load(at).larger(most[v]);
            }
        }
        for v in 0..N {
            V::store_wide(sums[v][0], squares.add(2 * v * wide));
            V::store_wide(sums[v][1], squares.add((2 * v + 1) * wide));
            most[v].store(largest.add(v * V::LANES));
        }
    }
    whole
}
