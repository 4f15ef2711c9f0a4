//! The products with a tile of the difference over explicit vectors: S += D·X and Zᵀ += Yᵀ·D.
//!
//! Both read rows of D, Xᵀ and Zᵀ, which are contiguous, and keep a square of vectors of their output in
//! registers: per step half as many loads as multiply-adds. Where two of these can start per cycle, loads
//! are the limit.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

#[cfg(target_arch = "x86_64")]
use super::simd::{MOST, Reduce, ZERO};
use super::{
    Ahead, LANES, Lines, TILE, Tile,
    simd::{Source, Vector, Walk},
};

/// Where the rows of D come from.
trait Feed<V>: Copy {
    /// The rows from `i` on.
    ///
    /// # Safety
    /// There is such a row.
    unsafe fn skip(self, i: usize) -> Self;
    /// Vector `k` of row `i`.
    ///
    /// # Safety
    /// It exists; the processor has the vector's features.
    unsafe fn get(self, i: usize, k: usize) -> V;
}

/// Rows that are decoded: the first, and elements from one to the next.
#[derive(Clone, Copy)]
struct Decoded(*const f32, usize);

impl<V: Vector> Feed<V> for Decoded {
    #[inline(always)]
    unsafe fn skip(self, i: usize) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { self.0.add(i * self.1) }, self.1)
    }
    #[inline(always)]
    unsafe fn get(self, i: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(self.0.add(i * self.1 + k * V::LANES)) }
    }
}

/// Rows that are decoded as they are asked for, and written to where [`Decoded`] then finds them.
#[derive(Clone, Copy)]
struct Fresh<S> {
    source: S,
    /// First row of base and tuned, and bytes from one to the next.
    sides: [(*const u8, usize); 2],
    to: (*mut f32, usize),
}

impl<V: Vector, S: Source<V>> Feed<V> for Fresh<S> {
    #[inline(always)]
    unsafe fn skip(self, i: usize) -> Self {
        // SAFETY: the caller's promise.
        let (sides, to) = unsafe {
            (self.sides.map(|(at, row)| (at.add(i * row), row)), (self.to.0.add(i * self.to.1), self.to.1))
        };
        Self { sides, to, ..self }
    }
    #[inline(always)]
    unsafe fn get(self, i: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let [base, tuned] = self.sides.map(|(at, row)| self.source.load(at.add(i * row), k * V::LANES));
            let d = tuned.subtract(base);
            d.store(self.to.0.add(i * self.to.1 + k * V::LANES));
            d
        }
    }
}

/// `MR` rows of D and `NR` rows of Xᵀ: their products, lane by lane.
///
/// # Safety
/// `d` has `MR` rows of `steps` vectors; `xt` `NR` rows of them, one after another; `sums` [`LANES`] elements for
/// each of `MR` × `W`; the processor has the vector's features.
#[inline(always)]
unsafe fn forward_tile<V: Vector, D: Feed<V>, const MR: usize, const NR: usize, const W: usize>(
    d: D,
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
                let d = d.get(i, k);
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

/// `MR` rows of D, the first `NR` rows of Xᵀ with those of `first`, the others with `later`.
///
/// # Safety
/// As for [`forward_tile`]; `later` finds what `first` has left.
#[inline(always)]
unsafe fn forward_rows<V: Vector, D: Feed<V>, const MR: usize, const NR: usize, const W: usize>(
    first: D,
    later: Decoded,
    xt: *const f32,
    steps: usize,
    sums: *mut f32,
    ahead: &mut Walk,
) {
    // SAFETY: row w of Xᵀ starts at w * steps vectors, the sums of column w at w * LANES.
    unsafe {
        forward_tile::<V, D, MR, NR, W>(first, xt, steps, sums, ahead);
        for w in (NR..W).step_by(NR) {
            let (xt, sums) = (xt.add(w * steps * V::LANES), sums.add(w * LANES));
            forward_tile::<V, Decoded, MR, NR, W>(later, xt, steps, sums, ahead);
        }
    }
}

/// S += D·X for `rows` rows of D, in tiles of `MR` and the rest one by one.
///
/// # Safety
/// As for [`forward_rows`], with `rows` in the place of `MR`.
#[inline(always)]
unsafe fn forward_all<V: Vector, D: Feed<V>, const MR: usize, const NR: usize, const W: usize>(
    (first, later, rows): (D, Decoded, usize),
    xt: &[f32],
    steps: usize,
    sums: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let ahead = &mut Walk::new(ahead, rows.div_ceil(MR) * (W / NR) * steps);
    let (x, s) = (xt.as_ptr(), sums.as_mut_ptr());
    let mut i = 0;
    // SAFETY: the sums of row i start at i * W * LANES; each tile ends by `rows`.
    unsafe {
        let at = |i: usize| (first.skip(i), Feed::<V>::skip(later, i), s.add(i * W * LANES));
        while i + MR <= rows {
            let (first, later, sums) = at(i);
            forward_rows::<V, D, MR, NR, W>(first, later, x, steps, sums, ahead);
            i += MR;
        }
        while i < rows {
            let (first, later, sums) = at(i);
            forward_rows::<V, D, 1, NR, W>(first, later, x, steps, sums, ahead);
            i += 1;
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
    let d = Decoded(tile.data.as_ptr(), tile.row);
    // SAFETY: the caller's promise.
    unsafe { forward_all::<V, _, MR, NR, W>((d, d, tile.rows), xt, tile.width / V::LANES, sums, ahead) }
}

/// y += the lanes of each sum of [`forward`], halves onto halves, and clears them, as far as whole vectors of sums go;
/// gives how many these are.
///
/// # Safety
/// `sums` holds [`LANES`] elements for each of `y`, of which `forward` with the same vector has written; the processor has
/// the vector's features.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn fold<V: Reduce>(sums: &mut [f32], y: &mut [f32]) -> usize {
    let done = y.len() / V::LANES * V::LANES;
    // SAFETY: sum i starts at i * LANES; `rows` has a vector per lane.
    unsafe {
        let zero = V::splat(&raw const ZERO);
        for first in (0..done).step_by(V::LANES) {
            let (sums, y) = (sums.as_mut_ptr().add(first * LANES), y.as_mut_ptr().add(first));
            let mut rows = [zero; MOST];
            for (i, row) in rows.iter_mut().enumerate().take(V::LANES) {
                *row = V::load(sums.add(i * LANES));
                zero.store(sums.add(i * LANES));
            }
            V::load(y).add(V::sums(rows.as_ptr())).store(y);
        }
    }
    done
}

/// D = tuned − base for a tile D of `rows` rows of [`TILE`] elements, into `data`, and S += D·X as in [`forward`]: rows are
/// decoded in the registers that they are first multiplied from.
///
/// # Safety
/// As for [`forward`]; each of `sides`, base and tuned, holds as many rows and elements.
#[inline(always)]
pub unsafe fn fresh<V: Vector, S: Source<V>, const MR: usize, const NR: usize, const W: usize>(
    sides: [Lines<'_>; 2],
    data: &mut [f32],
    rows: usize,
    xt: &[f32],
    sums: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let to = data.as_mut_ptr();
    let sides = sides.map(|side| (side.bytes.as_ptr(), side.row));
    // SAFETY: the caller's promise.
    unsafe {
        // With the length known at compile time, addresses take so few registers that all of them fit.
        let first = Fresh { source: S::new(), sides, to: (to, TILE) };
        forward_all::<V, _, MR, NR, W>((first, Decoded(to, TILE), rows), xt, TILE / V::LANES, sums, ahead);
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
