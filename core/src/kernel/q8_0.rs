//! Rows of Q8_0 times vectors: the products of a block are added up before they are scaled, and the scales of a few
//! rows are widened together: alone, one takes as long as half of a block's weights.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    dots::Dot,
    formats::{BLOCK_LEN, Q8_0, Q8_0_BYTES},
    short::PREFETCH_DISTANCE,
    vector::{Vector, ZERO},
};

/// Bytes that are asked for ahead of their use, in long rows and in others.
const SOON: usize = 2048;
const LONG: usize = 1024;

impl<V: Vector> Dot<V> for Q8_0 {
    #[inline(always)]
    unsafe fn new(_: usize) -> Self {
        Self
    }

    #[inline(always)]
    unsafe fn sums<const T: usize, const R: usize>(
        self,
        row: [*const u8; R],
        row_bytes: usize,
        x: [&[f32]; T],
    ) -> [[V; T]; R] {
        let ahead = if row_bytes < LONG { PREFETCH_DISTANCE } else { (R * row_bytes).min(SOON) };
        // SAFETY: block k starts k * Q8_0_BYTES into a row, and each x has as many elements.
        unsafe {
            let zero = V::splat(&raw const ZERO);
            let mut sum = [[zero; T]; R];
            for k in 0..row_bytes / Q8_0_BYTES {
                // Behind its end a row is followed by the one that takes its place, not by its neighbour.
                let next = k * Q8_0_BYTES + ahead;
                let next =
                    if next < row_bytes || row_bytes < ahead { next } else { next + (R - 1) * row_bytes };
                let mut packed = 0;
                for i in 0..R {
                    let scale = row[i].add(k * Q8_0_BYTES).cast::<u16>().read_unaligned();
                    packed |= u64::from(scale) << (16 * i);
                }
                let widened = V::widen_halves(packed);
                // Spread from memory: from a register it would take a port of the multiply-adds.
                let scales = V::alone(widened.as_ptr());
                for i in 0..R {
                    let at = row[i].add(k * Q8_0_BYTES);
                    V::prefetch_near(row[i].wrapping_add(next));
                    let mut products = [zero; T];
                    for j in (0..BLOCK_LEN).step_by(2 * V::LANES) {
                        let [low, high] = V::load_byte_pair(at.add(2 + j));
                        for t in 0..T {
                            let x = x[t].as_ptr().add(k * BLOCK_LEN + j);
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
            sum
        }
    }
}
