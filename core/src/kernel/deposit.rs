//! W += d in the weights' own format, over explicit vectors: decoded, added to and encoded in registers.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

#[cfg(all(feature = "blocks", target_arch = "x86_64"))]
use super::rows::PIECE;
use super::simd::{Source, Vector};
#[cfg(all(feature = "blocks", target_arch = "x86_64"))]
use crate::Dtype;

/// How a vector becomes elements of a stored row, to the bits of [`storage::encode`](super::storage::encode).
pub trait Sink<V>: Source<V> {
    /// Writes elements from `j`, a multiple of the vector's lanes, on.
    ///
    /// # Safety
    /// The row at `row` has that many elements from there on; the processor has the vector's features.
    unsafe fn store(self, values: V, row: *mut u8, j: usize);
}

/// Adds `delta` to the elements at `weights` as far as whole vectors go; gives how many these are.
///
/// # Safety
/// `weights` holds as many elements as `delta`; the processor has the vector's features.
#[inline(always)]
pub unsafe fn add<V: Vector, S: Sink<V>>(delta: &[f32], weights: &mut [u8]) -> usize {
    let (whole, row) = (delta.len() / V::LANES * V::LANES, weights.as_mut_ptr());
    // SAFETY: j stays below `whole`, a multiple of the lanes.
    unsafe {
        let format = S::new();
        for j in (0..whole).step_by(V::LANES) {
            let sum = format.load(row, j).add(V::load(delta.as_ptr().add(j)));
            format.store(sum, row, j);
        }
    }
    whole
}

/// Adds `delta` to weights in blocks, piece by piece: `encode` gets the sums of a piece and its bytes. Gives how many
/// weights these are: all.
///
/// # Safety
/// As for [`add`]; the blocks are whole, of 32 weights each.
#[cfg(all(feature = "blocks", target_arch = "x86_64"))]
#[inline(always)]
pub unsafe fn in_pieces<V: Vector, S: Source<V>>(
    delta: &[f32],
    dtype: Dtype,
    weights: &mut [u8],
    encode: impl Fn(&[f32], &mut [u8]),
) -> usize {
    const BLOCK: usize = 32;
    let mut sums = [0.0; PIECE];
    let bytes = weights.chunks_mut(dtype.row_bytes(PIECE).unwrap_or(PIECE));
    for (delta, bytes) in delta.chunks(PIECE).zip(bytes) {
        let sums = &mut sums[..delta.len()];
        // SAFETY: j stays below the weights of the piece, a multiple of the lanes.
        unsafe {
            let format = S::new();
            // Block by block, so that what a block has in common is decoded once.
            for block in (0..delta.len()).step_by(BLOCK) {
                for j in (block..block + BLOCK).step_by(V::LANES) {
                    let sum = format.load(bytes.as_ptr(), j).add(V::load(delta.as_ptr().add(j)));
                    sum.store(sums.as_mut_ptr().add(j));
                }
            }
        }
        encode(sums, bytes);
    }
    delta.len()
}
