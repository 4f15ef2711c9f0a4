//! Rows of Q8_0 times vectors: the products of a block are added up before they are scaled, and the scales of a few
//! rows are widened together: alone, one takes as long as half of a block's weights.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    short::AHEAD,
    simd::{self, MOST, Reduce, ZERO},
};

/// Weights of a block, and its bytes: a scale, then the weights.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = BLOCK + 2;

/// Bytes that are asked for ahead of their use, in long rows and in others.
const SOON: usize = 2048;
const LONG: usize = 1024;

/// A vector that signed bytes can be widened to.
pub trait Bytes: Reduce {
    /// As many bytes as two vectors have lanes.
    ///
    /// # Safety
    /// `from` is valid for so many reads; the processor has the type's features.
    unsafe fn widen_pair(from: *const u8) -> [Self; 2];
    /// Four f16, the lowest first.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn widen_halves(packed: u64) -> [f32; 4];
}

/// `out[i][t]` = (row i)·x\[t\].
///
/// # Safety
/// `bytes` holds `out.len()` rows of as many elements as each x has, whole blocks, `row_bytes` apart; the processor has the
/// vector's features.
#[inline(always)]
pub unsafe fn dots<V: Bytes, const T: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) {
    // A sum of each row and vector, and their products, in half of the registers.
    // SAFETY: the caller's promise.
    unsafe {
        match V::REGISTERS / (4 * T) {
            0 | 1 => grouped::<V, T, 1>(bytes, row_bytes, x, out),
            2 | 3 => grouped::<V, T, 2>(bytes, row_bytes, x, out),
            _ => grouped::<V, T, 4>(bytes, row_bytes, x, out),
        }
    }
}

/// The same with `R` rows at a time; the bits do not depend on it.
///
/// # Safety
/// As for [`dots`]; `R` divides the lanes.
#[inline(always)]
unsafe fn grouped<V: Bytes, const T: usize, const R: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) {
    let blocks = row_bytes / BLOCK_BYTES;
    let ahead = if row_bytes < LONG { AHEAD } else { (R * row_bytes).min(SOON) };
    // SAFETY: block k of row i starts at i * row_bytes + k * BLOCK_BYTES, and each x has as many elements; `sums`
    // has a vector per lane.
    unsafe {
        let zero = V::splat(&raw const ZERO);
        for (block, out) in out.chunks_mut(V::LANES).enumerate() {
            let mut sums = [[zero; MOST]; T];
            for first in (0..out.len()).step_by(R) {
                let start = bytes.as_ptr().add((block * V::LANES + first) * row_bytes);
                let row: [_; R] = simd::rows(start, row_bytes, out.len() - first);
                let mut sum = [[zero; T]; R];
                for k in 0..blocks {
                    // Behind its end a row is followed by the one that takes its place, not by its neighbour.
                    let next = k * BLOCK_BYTES + ahead;
                    let next =
                        if next < row_bytes || row_bytes < ahead { next } else { next + (R - 1) * row_bytes };
                    let mut packed = 0;
                    for i in 0..R {
                        let scale = row[i].add(k * BLOCK_BYTES).cast::<u16>().read_unaligned();
                        packed |= u64::from(scale) << (16 * i);
                    }
                    let widened = V::widen_halves(packed);
                    // Spread from memory: from a register it would take a port of the multiply-adds.
                    let scales = V::alone(widened.as_ptr());
                    for i in 0..R {
                        let at = row[i].add(k * BLOCK_BYTES);
                        V::prefetch_near(row[i].wrapping_add(next));
                        let mut products = [zero; T];
                        for j in (0..BLOCK).step_by(2 * V::LANES) {
                            let [low, high] = V::widen_pair(at.add(2 + j));
                            for t in 0..T {
                                let x = x[t].as_ptr().add(k * BLOCK + j);
                                products[t] = products[t].fused(low, V::load(x));
                                products[t] = products[t].fused(high, V::load(x.add(V::LANES)));
                            }
                        }
                        let scale = V::splat(scales.add(i));
                        for t in 0..T {
                            sum[i][t] = sum[i][t].fused(products[t], scale);
                        }
                    }
                }
                for i in 0..R {
                    for t in 0..T {
                        sums[t][first + i] = sum[i][t];
                    }
                }
            }
            simd::add_up(&sums, out);
        }
    }
}
