//! The products with a strip of the difference over explicit vectors: Y += D·X and Z += Dᵀ·Y.
//!
//! A step of either product takes [`LANES`] elements of X or Y, and multiplies them with one element of D per row of the
//! output, or with a pair where the panel is half as wide. The output stays in registers: as many rows of it as make loads
//! no limit. D comes in blocks of columns that lie together, so that nothing pushes its rows out of the first-level cache.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    Ahead, LANES, STRIP_ROWS, SUM_COLUMNS, Strip,
    operands::{BLOCK, CHUNK},
    vector::{Vector, Walk, ZERO},
};

/// Where column `column` of a row in blocks is, from its first element.
#[inline(always)]
pub const fn place(column: usize) -> usize {
    column / LANES * BLOCK + column % LANES
}

/// Elements of D that a step of a panel of width `W` takes from each of its rows.
pub const fn taken<const W: usize>() -> usize {
    LANES / W
}

/// The elements of a step from one row: one in all lanes, or two in turn.
///
/// # Safety
/// `from` is valid for [`taken`] reads; the processor has the vector's features.
#[inline(always)]
unsafe fn splat<V: Vector, const W: usize>(from: *const f32) -> V {
    // SAFETY: the caller's promise.
    unsafe { if taken::<W>() == 1 { V::splat(from) } else { V::splat_pair(from) } }
}

/// One step of Y += D·X for `MR` rows.
///
/// # Safety
/// `d` is the first of `MR` rows in a block, at the first of the columns [`taken`]; `x` has `NV` vectors; the processor has
/// the vector's features.
#[inline(always)]
pub unsafe fn step<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    sum: &mut [[V; NV]; MR],
    d: *const f32,
    x: *const f32,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let mut wide = [sum[0][0]; NV];
        for v in 0..NV {
            wide[v] = V::load(x.add(v * V::LANES));
        }
        for i in 0..MR {
            let d = splat::<V, W>(d.add(i * LANES));
            for v in 0..NV {
                sum[i][v] = sum[i][v].fused(d, wide[v]);
            }
        }
    }
}

/// Adds a tile of sums to `MR` rows of Y.
///
/// # Safety
/// `y` has `MR` rows of `NV` vectors; the processor has the vector's features.
#[inline(always)]
pub unsafe fn add_to<V: Vector, const MR: usize, const NV: usize>(y: *mut f32, sum: [[V; NV]; MR]) {
    // SAFETY: the caller's promise.
    unsafe {
        for (i, sum) in sum.iter().enumerate() {
            for (v, &sum) in sum.iter().enumerate() {
                let y = y.add((i * NV + v) * V::LANES);
                V::load(y).add(sum).store(y);
            }
        }
    }
}

/// Y += D·X for `MR` rows, over `steps` steps.
///
/// # Safety
/// `d` is the first of `MR` rows in blocks, `x` has `steps` times `NV` vectors and `y` `MR` times; the processor has the
/// vector's features.
#[inline(always)]
unsafe fn forward_tile<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    d: *const f32,
    x: *const f32,
    steps: usize,
    y: *mut f32,
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let mut sum = [[V::splat(&raw const ZERO); NV]; MR];
        let mut x = x;
        for first in (0..steps).step_by(W) {
            let mut d = d.add(first * taken::<W>() * STRIP_ROWS);
            for _ in first..steps.min(first + W) {
                ahead.step::<V>();
                step::<V, MR, NV, W>(&mut sum, d, x);
                x = x.add(LANES);
                d = V::alone(d.add(taken::<W>()));
            }
        }
        add_to(y, sum);
    }
}

/// Lanes of Y += D·X, as [`Kernel::forward`](super::Kernel::forward) has them, in tiles of `MR` rows and the rest in
/// smaller ones.
///
/// # Safety
/// `d`, `x` and `y` hold their shapes; the processor has the vector's features; `NV` vectors are [`LANES`] elements.
#[inline(always)]
pub unsafe fn forward<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    d: Strip<'_>,
    x: &[f32],
    y: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let ahead = &mut Walk::new(ahead, d.cols.div_ceil(taken::<W>()) * d.rows.div_ceil(MR));
    let y = y.as_mut_ptr();
    let (mut first, whole) = (0, d.cols / CHUNK * CHUNK);
    while first < d.cols {
        // Whole chunks apart from the rest, as where they are decoded on the way.
        let end = if first < whole { whole.min(first + SUM_COLUMNS) } else { d.cols };
        let count = (end - first).div_ceil(taken::<W>());
        let mut i = 0;
        // SAFETY: row i of D starts at i * LANES, and so does that of Y; each tile ends by `rows` and by `cols`.
        unsafe {
            let (d_at, x) = (d.data.as_ptr().add(place(first)), x.as_ptr().add(first / taken::<W>() * LANES));
            let at = |i: usize| (d_at.add(i * LANES), y.add(i * LANES));
            while i + MR <= d.rows {
                let (d, y) = at(i);
                forward_tile::<V, MR, NV, W>(d, x, count, y, ahead);
                i += MR;
            }
            while i + 4 <= d.rows {
                let (d, y) = at(i);
                forward_tile::<V, 4, NV, W>(d, x, count, y, ahead);
                i += 4;
            }
            while i < d.rows {
                let (d, y) = at(i);
                forward_tile::<V, 1, NV, W>(d, x, count, y, ahead);
                i += 1;
            }
        }
        first = end;
    }
}

/// `MR` steps of Z += Dᵀ·Y.
///
/// # Safety
/// `d` is the first of `rows` rows in blocks, at the first of `MR` times the columns [`taken`]; `y` has `rows` times `NV`
/// vectors and `z` `MR` times; the processor has the vector's features.
#[inline(always)]
unsafe fn backward_tile<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    (d, rows): (*const f32, usize),
    y: *const f32,
    z: *mut f32,
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises, or asked for alone.
    unsafe {
        let mut sum = [[V::load(z); NV]; MR];
        for k in 0..MR {
            for v in 0..NV {
                sum[k][v] = V::load(z.add((k * NV + v) * V::LANES));
            }
        }
        let (mut d, mut y) = (d, y);
        for i in 0..rows {
            let mut wide = [sum[0][0]; NV];
            for v in 0..NV {
                wide[v] = V::load(y.add(v * V::LANES));
            }
            // What comes next, on the way to the first columns: a row of each block of D, and one of Z.
            for g in 0..taken::<W>() {
                V::prefetch_near(d.wrapping_sub((g + 1) * BLOCK).cast());
            }
            V::prefetch_near(z.wrapping_add(i * LANES).wrapping_sub(STRIP_ROWS * LANES).cast());
            ahead.step::<V>();
            for k in 0..MR {
                let d = splat::<V, W>(d.add(place(k * taken::<W>())));
                for v in 0..NV {
                    sum[k][v] = sum[k][v].fused(d, wide[v]);
                }
            }
            y = y.add(LANES);
            d = V::alone(d.add(LANES));
        }
        for k in 0..MR {
            for v in 0..NV {
                sum[k][v].store(z.add((k * NV + v) * V::LANES));
            }
        }
    }
}

/// Z += Dᵀ·Y for Y in lanes, as [`Kernel::backward`](super::Kernel::backward) has it, from the last columns on: those that
/// were used last are still near. In tiles of `MR` steps and the rest in smaller ones.
///
/// # Safety
/// `d`, `y` and `z` hold their shapes; the processor has the vector's features; `NV` vectors are [`LANES`] elements, and `MR`
/// divides them.
#[inline(always)]
pub unsafe fn backward<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    d: Strip<'_>,
    y: &[f32],
    z: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let mut step = d.cols.div_ceil(taken::<W>());
    let ahead = &mut Walk::new(ahead, step.div_ceil(MR) * d.rows);
    // SAFETY: `step` goes down to 0; where MR is taken off it was a multiple, so that a tile stays within its blocks.
    unsafe {
        let (data, y, z) = (d.data.as_ptr(), y.as_ptr(), z.as_mut_ptr());
        let at = |step: usize| ((data.add(place(step * taken::<W>())), d.rows), z.add(step * LANES));
        while !step.is_multiple_of(MR) && !step.is_multiple_of(4) {
            step -= 1;
            let (d, z) = at(step);
            backward_tile::<V, 1, NV, W>(d, y, z, ahead);
        }
        while !step.is_multiple_of(MR) {
            step -= 4;
            let (d, z) = at(step);
            backward_tile::<V, 4, NV, W>(d, y, z, ahead);
        }
        while step > 0 {
            step -= MR;
            let (d, z) = at(step);
            backward_tile::<V, MR, NV, W>(d, y, z, ahead);
        }
    }
}
