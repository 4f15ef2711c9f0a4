//! Rows combined over explicit vectors: C += Yᵀ·D with C and D by rows.
//!
//! A square of vectors of C stays in registers: per step half as many loads as multiply-adds.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    Ahead, Tile,
    simd::{Vector, Walk},
};

/// `MR` rows of C, `NV` vectors wide.
///
/// # Safety
/// `d` holds `rows` rows of `NV` vectors, `row` elements apart; `y` `rows` rows of `MR`, `W` apart; `c` `MR`
/// rows of `NV` vectors, `width` apart; the processor has the vector's features.
#[inline(always)]
unsafe fn combine_tile<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    (d, row, rows): (*const f32, usize, usize),
    y: *const f32,
    (c, width): (*mut f32, usize),
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let mut sum = [[V::load(c); NV]; MR];
        for w in 0..MR {
            for v in 0..NV {
                sum[w][v] = V::load(c.add(w * width + v * V::LANES));
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
                sum[w][v].store(c.add(w * width + v * V::LANES));
            }
        }
    }
}

/// C += Yᵀ·D for a tile D.
///
/// # Safety
/// `y` holds `tile.rows` × `W` elements and `c` `W` rows of `tile.width`, a multiple of the lanes; the tile
/// holds its shape; the processor has the vector's features. `MR` divides `W`.
#[inline(always)]
pub unsafe fn combine_rows<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    tile: Tile<'_>,
    y: &[f32],
    c: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let ahead = &mut Walk::new(ahead, tile.width.div_ceil(NV * V::LANES) * (W / MR) * tile.rows);
    let mut column = 0;
    // SAFETY: column c of D and C starts c elements further on, row w of C at w * width; each tile ends by
    // `width` and by `W`.
    unsafe {
        let (d, y, z) = (tile.data.as_ptr(), y.as_ptr(), c.as_mut_ptr());
        while column + NV * V::LANES <= tile.width {
            for w in (0..W).step_by(MR) {
                let c = (z.add(w * tile.width + column), tile.width);
                let d = (d.add(column), tile.row, tile.rows);
                combine_tile::<V, MR, NV, W>(d, y.add(w), c, ahead);
            }
            column += NV * V::LANES;
        }
        while column < tile.width {
            for w in (0..W).step_by(MR) {
                let c = (z.add(w * tile.width + column), tile.width);
                let d = (d.add(column), tile.row, tile.rows);
                combine_tile::<V, MR, 1, W>(d, y.add(w), c, ahead);
            }
            column += V::LANES;
        }
    }
}
