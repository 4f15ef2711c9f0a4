//! The products with a tile of the difference over explicit vectors: S += D·X and Zᵀ += Yᵀ·D.
//!
//! Both read rows of D, Xᵀ and Zᵀ, which are contiguous, and keep a square of vectors of their output in
//! registers: per step half as many loads as multiply-adds. Where two of these can start per cycle, loads
//! are the limit.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    Ahead, LANES, Tile,
    simd::{Vector, Walk},
};

/// `MR` rows of D and `NR` rows of Xᵀ: their products, lane by lane.
///
/// # Safety
/// `d` holds `MR` rows of `steps` vectors, `row` elements apart; `xt` `NR` rows of them, one after another;
/// `sums` [`LANES`] elements for each of `MR` × `W`; the processor has the vector's features.
#[inline(always)]
unsafe fn forward_tile<V: Vector, const MR: usize, const NR: usize, const W: usize>(
    d: *const f32,
    row: usize,
    xt: *const f32,
    steps: usize,
    sums: *mut f32,
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let at = |i: usize, w: usize| sums.add((i * W + w) * LANES);
        let mut sum = [[V::load(sums); NR]; MR];
        for i in 0..MR {
            for w in 0..NR {
                sum[i][w] = V::load(at(i, w));
            }
        }
        for k in 0..steps {
            ahead.step::<V>();
            let mut x = [sum[0][0]; NR];
            for w in 0..NR {
                x[w] = V::load(xt.add((w * steps + k) * V::LANES));
            }
            for i in 0..MR {
                let d = V::load(d.add(i * row + k * V::LANES));
                for w in 0..NR {
                    sum[i][w] = sum[i][w].fused(d, x[w]);
                }
            }
        }
        for i in 0..MR {
            for w in 0..NR {
                sum[i][w].store(at(i, w));
            }
        }
    }
}

/// S += D·X for a tile D, lane by lane, in the first of the [`LANES`] of each sum.
///
/// # Safety
/// `xt` holds `W` rows of `tile.width` elements, a multiple of the lanes, and `sums` [`LANES`] for
/// each of `tile.rows` × `W`; the tile holds its shape; the processor has the vector's features. `NR` divides `W`.
#[inline(always)]
pub unsafe fn forward<V: Vector, const MR: usize, const NR: usize, const W: usize>(
    tile: Tile<'_>,
    xt: &[f32],
    sums: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let steps = tile.width / V::LANES;
    let ahead = &mut Walk::new(ahead, tile.rows.div_ceil(MR) * (W / NR) * steps);
    let mut i = 0;
    // SAFETY: row i of D starts at i * row, its sums at i * W * LANES, row w of Xᵀ at w * width; each tile
    // ends by `rows` and by `W`.
    unsafe {
        let (d, x, s) = (tile.data.as_ptr(), xt.as_ptr(), sums.as_mut_ptr());
        while i + MR <= tile.rows {
            for w in (0..W).step_by(NR) {
                let sums = s.add((i * W + w) * LANES);
                let (d, x) = (d.add(i * tile.row), x.add(w * tile.width));
                forward_tile::<V, MR, NR, W>(d, tile.row, x, steps, sums, ahead);
            }
            i += MR;
        }
        while i < tile.rows {
            for w in (0..W).step_by(NR) {
                let sums = s.add((i * W + w) * LANES);
                let (d, x) = (d.add(i * tile.row), x.add(w * tile.width));
                forward_tile::<V, 1, NR, W>(d, tile.row, x, steps, sums, ahead);
            }
            i += 1;
        }
    }
}

/// `MR` rows of Zᵀ, `NV` vectors wide.
///
/// # Safety
/// `d` holds `rows` rows of `NV` vectors, `row` elements apart; `y` `rows` rows of `MR`, `W` apart; `zt` `MR`
/// rows of `NV` vectors, `width` apart; the processor has the vector's features.
#[inline(always)]
unsafe fn backward_tile<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    (d, row, rows): (*const f32, usize, usize),
    y: *const f32,
    (zt, width): (*mut f32, usize),
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let mut sum = [[V::load(zt); NV]; MR];
        for w in 0..MR {
            for v in 0..NV {
                sum[w][v] = V::load(zt.add(w * width + v * V::LANES));
            }
        }
        for i in 0..rows {
            ahead.step::<V>();
            let mut wide = [sum[0][0]; NV];
            for v in 0..NV {
                wide[v] = V::load(d.add(i * row + v * V::LANES));
            }
            for w in 0..MR {
                let y = V::splat(y.add(i * W + w));
                for v in 0..NV {
                    sum[w][v] = sum[w][v].fused(y, wide[v]);
                }
            }
        }
        for w in 0..MR {
            for v in 0..NV {
                sum[w][v].store(zt.add(w * width + v * V::LANES));
            }
        }
    }
}

/// Zᵀ += Yᵀ·D for a tile D.
///
/// # Safety
/// `y` holds `tile.rows` × `W` elements and `zt` `W` rows of `tile.width`, a multiple of the lanes; the tile
/// holds its shape; the processor has the vector's features. `MR` divides `W`.
#[inline(always)]
pub unsafe fn backward<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    tile: Tile<'_>,
    y: &[f32],
    zt: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let ahead = &mut Walk::new(ahead, tile.width.div_ceil(NV * V::LANES) * (W / MR) * tile.rows);
    let mut column = 0;
    // SAFETY: column c of D and Zᵀ starts c elements further on, row w of Zᵀ at w * width; each tile ends by
    // `width` and by `W`.
    unsafe {
        let (d, y, z) = (tile.data.as_ptr(), y.as_ptr(), zt.as_mut_ptr());
        while column + NV * V::LANES <= tile.width {
            for w in (0..W).step_by(MR) {
                let zt = (z.add(w * tile.width + column), tile.width);
                let d = (d.add(column), tile.row, tile.rows);
                backward_tile::<V, MR, NV, W>(d, y.add(w), zt, ahead);
            }
            column += NV * V::LANES;
        }
        while column < tile.width {
            for w in (0..W).step_by(MR) {
                let zt = (z.add(w * tile.width + column), tile.width);
                let d = (d.add(column), tile.row, tile.rows);
                backward_tile::<V, MR, 1, W>(d, y.add(w), zt, ahead);
            }
            column += V::LANES;
        }
    }
}
