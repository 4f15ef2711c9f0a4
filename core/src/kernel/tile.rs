//! The products with a tile of the difference over explicit vectors: S += D·X and Zᵀ += Yᵀ·D.
//!
//! Both read rows of D, Xᵀ and Zᵀ, which are contiguous, and keep a square of vectors of their output in
//! registers: per step half as many loads as multiply-adds. Where two of these can start per cycle, loads
//! are the limit.
//!
//! Rows that are stored are decoded in the registers that they are first multiplied from, and kept in the first-level
//! cache for the other columns of X or Y. Each product decodes for itself: a decoded strip between the two would take
//! as many bytes of the second-level cache as the stored one, twice.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    Ahead, LANES, Product, Stored, TILE, Tile,
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
    /// The rows once more, after [`get`](Self::get) of them.
    fn again(self) -> Decoded;
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
    #[inline(always)]
    fn again(self) -> Decoded {
        self
    }
}

/// Rows that are decoded as they are asked for, and written to where [`Decoded`] then finds them; those that are
/// skipped to take the place of those before.
#[derive(Clone, Copy)]
struct Fresh<S, const ROW: usize> {
    source: S,
    /// First row of base and tuned, bytes from one to the next, and the first element.
    sides: [(*const u8, usize); 2],
    first: usize,
    /// Rows of `ROW` elements.
    to: *mut f32,
}

impl<V: Vector, S: Source<V>, const ROW: usize> Feed<V> for Fresh<S, ROW> {
    #[inline(always)]
    unsafe fn skip(self, i: usize) -> Self {
        // SAFETY: the caller's promise.
        let sides = unsafe { self.sides.map(|(at, row)| (at.add(i * row), row)) };
        Self { sides, ..self }
    }
    #[inline(always)]
    unsafe fn get(self, i: usize, k: usize) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let j = self.first + k * V::LANES;
            let [base, tuned] = self.sides.map(|(at, row)| self.source.load(at.add(i * row), j));
            let d = tuned.subtract(base);
            d.store(self.to.add(i * ROW + k * V::LANES));
            d
        }
    }
    #[inline(always)]
    fn again(self) -> Decoded {
        Decoded(self.to, ROW)
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

/// `MR` rows of D and all of Xᵀ, `NR` rows at a time.
///
/// # Safety
/// As for [`forward_tile`].
#[inline(always)]
unsafe fn forward_rows<V: Vector, D: Feed<V>, const MR: usize, const NR: usize, const W: usize>(
    d: D,
    xt: *const f32,
    steps: usize,
    sums: *mut f32,
    ahead: &mut Walk,
) {
    // SAFETY: row w of Xᵀ starts at w * steps vectors, the sums of column w at w * LANES.
    unsafe {
        forward_tile::<V, D, MR, NR, W>(d, xt, steps, sums, ahead);
        for w in (NR..W).step_by(NR) {
            let (xt, sums) = (xt.add(w * steps * V::LANES), sums.add(w * LANES));
            forward_tile::<V, Decoded, MR, NR, W>(d.again(), xt, steps, sums, ahead);
        }
    }
}

/// S += D·X for `rows` rows of D, in tiles of `MR` and the rest one by one.
///
/// # Safety
/// As for [`forward_rows`], with `rows` in the place of `MR`.
#[inline(always)]
unsafe fn forward_all<V: Vector, D: Feed<V>, const MR: usize, const NR: usize, const W: usize>(
    (d, rows): (D, usize),
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
        while i + MR <= rows {
            forward_rows::<V, D, MR, NR, W>(d.skip(i), x, steps, s.add(i * W * LANES), ahead);
            i += MR;
        }
        while i < rows {
            forward_rows::<V, D, 1, NR, W>(d.skip(i), x, steps, s.add(i * W * LANES), ahead);
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
    unsafe { forward_all::<V, _, MR, NR, W>((d, tile.rows), xt, tile.width / V::LANES, sums, ahead) }
}

/// `MR` rows of Zᵀ, `NV` vectors wide.
///
/// # Safety
/// `d` has `rows` rows of `NV` vectors; `y` `rows` rows of `MR`, `W` apart; `zt` `MR` rows of `NV` vectors, `width`
/// apart; the processor has the vector's features.
#[inline(always)]
unsafe fn backward_tile<V: Vector, D: Feed<V>, const MR: usize, const NV: usize, const W: usize>(
    (d, rows): (D, usize),
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
                wide[v] = d.get(i, v);
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

/// `NV` vectors of all rows of Zᵀ, `MR` at a time.
///
/// # Safety
/// As for [`backward_tile`], with `W` in the place of `MR`, which divides it.
#[inline(always)]
unsafe fn backward_columns<V: Vector, D: Feed<V>, const MR: usize, const NV: usize, const W: usize>(
    (d, rows): (D, usize),
    y: *const f32,
    (zt, width): (*mut f32, usize),
    ahead: &mut Walk,
) {
    // SAFETY: row w of Zᵀ starts at w * width.
    unsafe {
        backward_tile::<V, D, MR, NV, W>((d, rows), y, (zt, width), ahead);
        for w in (MR..W).step_by(MR) {
            let zt = (zt.add(w * width), width);
            backward_tile::<V, Decoded, MR, NV, W>((d.again(), rows), y.add(w), zt, ahead);
        }
    }
}

/// The walk over `ahead` of a backward product.
fn backward_walk<V: Vector>(
    ahead: &mut Ahead<'_>,
    width: usize,
    vectors: usize,
    passes: usize,
    rows: usize,
) -> Walk {
    Walk::new(ahead, width.div_ceil(vectors * V::LANES) * passes * rows)
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
    let ahead = &mut backward_walk::<V>(ahead, tile.width, NV, W / MR, tile.rows);
    let mut column = 0;
    // SAFETY: column c of D and Zᵀ starts c elements further on; each tile ends by `width`.
    unsafe {
        let (d, y, z) = (tile.data.as_ptr(), y.as_ptr(), zt.as_mut_ptr());
        while column + NV * V::LANES <= tile.width {
            let d = (Decoded(d.add(column), tile.row), tile.rows);
            backward_columns::<V, _, MR, NV, W>(d, y, (z.add(column), tile.width), ahead);
            column += NV * V::LANES;
        }
        while column < tile.width {
            let d = (Decoded(d.add(column), tile.row), tile.rows);
            backward_columns::<V, _, MR, 1, W>(d, y, (z.add(column), tile.width), ahead);
            column += V::LANES;
        }
    }
}

/// A product with D = tuned − base, a tile of [`TILE`] columns: squares of `FR` rows of D and `FC` columns of X, or of
/// `BR` columns of Y and `ROW` columns of D, which are `BV` vectors. To the same bits as of the decoded tile.
///
/// # Safety
/// Both sides hold the shape; the operands are as for [`forward`] and [`backward`], with `FC` in the place of `NR` and
/// `BR` in that of `MR`; `room` holds a row of [`TILE`] for each of
/// the tile's rows.
#[inline(always)]
pub unsafe fn stored<
    V: Vector,
    S: Source<V>,
    const FR: usize,
    const FC: usize,
    const BR: usize,
    const BV: usize,
    const ROW: usize,
    const W: usize,
>(
    Stored { sides, rows, .. }: Stored<'_>,
    room: &mut [f32],
    product: Product<'_>,
    ahead: &mut Ahead<'_>,
) {
    const { assert!(ROW == BV * V::LANES && TILE.is_multiple_of(ROW)) };
    let sides = sides.map(|side| (side.bytes.as_ptr(), side.row));
    let to = room.as_mut_ptr();
    // SAFETY: as in `forward` and `backward`. With lengths of rows that are known at compile time, addresses take so few
    // registers that all of them fit.
    unsafe {
        let source = S::new();
        match product {
            Product::Forward { xt, sums } => {
                let d = Fresh::<S, TILE> { source, sides, first: 0, to };
                forward_all::<V, _, FR, FC, W>((d, rows), xt, TILE / V::LANES, sums, ahead);
            }
            Product::Backward { y, zt } => {
                let ahead = &mut backward_walk::<V>(ahead, TILE, BV, W / BR, rows);
                for first in (0..TILE).step_by(ROW) {
                    let d = Fresh::<S, ROW> { source, sides, first, to };
                    let z = (zt.as_mut_ptr().add(first), TILE);
                    backward_columns::<V, _, BR, BV, W>((d, rows), y.as_ptr(), z, ahead);
                }
            }
        }
    }
}
