//! Rows merged into stored weights over explicit vectors: W += Yᵀ·D.
//!
//! A square of vectors of the sum stays in registers, so that a step takes half as many loads as multiply-adds; it is added
//! once, to weights that are decoded and encoded in registers as well.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    Ahead, Tile,
    formats::Sink,
    vector::{Vector, Walk, ZERO},
};

/// Stored rows that are merged into: where the first is and where it goes, bytes from one to the next, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    pub from: (*const u8, usize),
    pub to: (*mut u8, usize),
    pub rows: usize,
}

impl Stored {
    /// The rows from `w` on; one beyond the last is neither read nor written.
    #[inline(always)]
    fn skip(self, w: usize) -> Self {
        let (from, to) = (self.from.0.wrapping_add(w * self.from.1), self.to.0.wrapping_add(w * self.to.1));
        Self { from: (from, self.from.1), to: (to, self.to.1), ..self }
    }
}

/// `MR` rows of W, `NV` vectors from `column` on.
///
/// # Safety
/// `d` holds `rows` rows, `row` elements apart, and `y` as many, `W` apart, of `MR`; `weights` `MR` rows, as far as the
/// vectors go; the processor has the vector's features.
#[inline(always)]
unsafe fn merge_tile<V: Vector, S: Sink<V>, const MR: usize, const NV: usize, const W: usize>(
    (d, row, rows): (*const f32, usize, usize),
    y: *const f32,
    (weights, column): (Stored, usize),
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let mut sum = [[V::splat(&raw const ZERO); NV]; MR];
        for i in 0..rows {
            ahead.step::<V>();
            let mut wide = [sum[0][0]; NV];
            for v in 0..NV {
                wide[v] = V::load(d.add(i * row + column + v * V::LANES));
            }
            for w in 0..MR {
                let y = V::splat(y.add(i * W + w));
                for v in 0..NV {
                    sum[w][v] = sum[w][v].fused(y, wide[v]);
                }
            }
        }
        let format = S::new();
        for (w, sum) in sum.iter().enumerate() {
            let row = weights.skip(w);
            let (from, to) = (row.from.0, row.to.0);
            let (pairs, rest) = sum.as_chunks::<2>();
            for (v, sum) in pairs.iter().enumerate() {
                let j = column + 2 * v * V::LANES;
                let old = format.load_pair(from, j);
                format.store_pair([old[0].add(sum[0]), old[1].add(sum[1])], to, j);
            }
            for (v, &sum) in rest.iter().enumerate() {
                let j = column + (2 * pairs.len() + v) * V::LANES;
                format.store(format.load(from, j).add(sum), to, j);
            }
        }
    }
}

/// `MR` rows of W and all columns of `tile`.
///
/// # Safety
/// As for [`merge_rows`], of `MR` rows.
#[inline(always)]
unsafe fn merge_wide<V: Vector, S: Sink<V>, const MR: usize, const NV: usize, const W: usize>(
    tile: Tile<'_>,
    y: *const f32,
    weights: Stored,
    ahead: &mut Walk,
) {
    let d = (tile.data.as_ptr(), tile.row, tile.rows);
    let mut column = 0;
    // SAFETY: each tile ends by `width`.
    unsafe {
        while column + NV * V::LANES <= tile.width {
            merge_tile::<V, S, MR, NV, W>(d, y, (weights, column), ahead);
            column += NV * V::LANES;
        }
        while column < tile.width {
            merge_tile::<V, S, MR, 1, W>(d, y, (weights, column), ahead);
            column += V::LANES;
        }
    }
}

/// W += Yᵀ·D for a tile D.
///
/// # Safety
/// `y` holds `tile.rows` × `W` elements and `weights` at most `W` rows of `tile.width`, a multiple of the lanes; the tile
/// holds its shape; the processor has the vector's features.
#[inline(always)]
pub unsafe fn merge_rows<V: Vector, S: Sink<V>, const MR: usize, const NV: usize, const W: usize>(
    tile: Tile<'_>,
    y: &[f32],
    weights: Stored,
    ahead: &mut Ahead<'_>,
) {
    let ahead =
        &mut Walk::new(ahead, tile.width.div_ceil(NV * V::LANES) * weights.rows.div_ceil(MR) * tile.rows);
    let mut w = 0;
    // SAFETY: each tile ends by `weights.rows`.
    unsafe {
        while w + MR <= weights.rows {
            merge_wide::<V, S, MR, NV, W>(tile, y.as_ptr().add(w), weights.skip(w), ahead);
            w += MR;
        }
        while w < weights.rows {
            merge_wide::<V, S, 1, NV, W>(tile, y.as_ptr().add(w), weights.skip(w), ahead);
            w += 1;
        }
    }
}
