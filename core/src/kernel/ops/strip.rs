//! The products with a strip of the difference: Y += D·X and Z += Dᵀ·Y.
//!
//! A step of either product takes [`LANES`] elements of X or Y, and multiplies them with one element of D per row of the
//! output, or with a pair where the panel is half as wide. The output stays in registers: enough rows that loads are not the bottleneck. D
//! comes in segments of columns that lie together, so that nothing pushes its rows out of the first-level cache.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Error,
    kernel::{
        Kernel, LANES, Prefetch, STRIP_ROWS, SUM_COLUMNS, Strip,
        isa::{Isa, Op},
        operands::{SEGMENT, WINDOW, offset, step_columns},
        ops::difference_forward::{add_to, splat, step},
        portable,
        tiles::StripTile,
        vector::{Vector, Walk, ZERO},
    },
};

/// Y += D·X in lanes.
struct Forward<'a, 'b, const W: usize> {
    d: Strip<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    ahead: &'a mut Prefetch<'b>,
}

impl<const W: usize> Op for Forward<'_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        // It cannot ask for anything, but stays in step with those that can.
        self.ahead.step();
        portable::forward::<W>(self.d, self.x, self.y);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe { I::StripTile::forward::<W>(self.d, self.x, self.y, self.ahead) }
    }
}

/// Z += Dᵀ·Y.
struct Backward<'a, 'b, const W: usize> {
    d: Strip<'a>,
    y: &'a [f32],
    z: &'a mut [f32],
    ahead: &'a mut Prefetch<'b>,
}

impl<const W: usize> Op for Backward<'_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        self.ahead.step();
        portable::backward::<W>(self.d, self.y, self.z);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe { I::StripTile::backward::<W>(self.d, self.y, self.z, self.ahead) }
    }
}

/// Y += D·X for `MR` rows, over `steps` steps.
///
/// # Safety
/// `d` is the first of `MR` rows of a strip, `x` has `steps` times `NV` vectors and `y` `MR` times; the processor has the
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
            let mut d = d.add(first * step_columns::<W>() * STRIP_ROWS);
            for _ in first..steps.min(first + W) {
                ahead.step::<V>();
                step::<V, MR, NV, W>(&mut sum, d, x);
                x = x.add(LANES);
                d = V::alone(d.add(step_columns::<W>()));
            }
        }
        add_to(y, sum);
    }
}

/// `MR` steps of Z += Dᵀ·Y.
///
/// # Safety
/// `d` is the first of `rows` rows of a strip, at the first of `MR` times [`step_columns`] columns; `y` has `rows` times `NV`
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
            // What comes next, on the way to the first columns: a row of each segment of D, and one of Z.
            for g in 0..step_columns::<W>() {
                V::prefetch_near(d.wrapping_sub((g + 1) * SEGMENT).cast());
            }
            V::prefetch_near(z.wrapping_add(i * LANES).wrapping_sub(STRIP_ROWS * LANES).cast());
            ahead.step::<V>();
            for k in 0..MR {
                let d = splat::<V, W>(d.add(offset(k * step_columns::<W>())));
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

impl<V: Vector, const MR: usize, const NV: usize> StripTile for [[V; NV]; MR] {
    /// In tiles of `MR` rows and the rest in smaller ones.
    ///
    /// # Safety
    /// `NV` vectors are [`LANES`] elements.
    #[inline(always)]
    unsafe fn forward<const W: usize>(d: Strip<'_>, x: &[f32], y: &mut [f32], ahead: &mut Prefetch<'_>) {
        let ahead = &mut Walk::new(ahead, d.cols.div_ceil(step_columns::<W>()) * d.rows.div_ceil(MR));
        let y = y.as_mut_ptr();
        let (mut first, whole) = (0, d.cols / WINDOW * WINDOW);
        while first < d.cols {
            // Whole windows apart from the rest, as where they are decoded on the way.
            let end = if first < whole { whole.min(first + SUM_COLUMNS) } else { d.cols };
            let count = (end - first).div_ceil(step_columns::<W>());
            let mut i = 0;
            // SAFETY: row i of D starts at i * LANES, and so does that of Y; each tile ends by `rows` and by `cols`.
            unsafe {
                let (d_at, x) =
                    (d.data.as_ptr().add(offset(first)), x.as_ptr().add(first / step_columns::<W>() * LANES));
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

    /// From the last columns on: those that were used last are still near. In tiles of `MR` steps and the rest in smaller
    /// ones.
    ///
    /// # Safety
    /// `NV` vectors are [`LANES`] elements, and `MR` divides them.
    #[inline(always)]
    unsafe fn backward<const W: usize>(d: Strip<'_>, y: &[f32], z: &mut [f32], ahead: &mut Prefetch<'_>) {
        let mut step = d.cols.div_ceil(step_columns::<W>());
        let ahead = &mut Walk::new(ahead, step.div_ceil(MR) * d.rows);
        // SAFETY: `step` goes down to 0; where MR is taken off it was a multiple, so that a tile stays within its segments.
        unsafe {
            let (data, y, z) = (d.data.as_ptr(), y.as_ptr(), z.as_mut_ptr());
            let at =
                |step: usize| ((data.add(offset(step * step_columns::<W>())), d.rows), z.add(step * LANES));
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
}

impl Kernel {
    /// Lanes of Y += D·X for a strip D: `x` is packed, [`LANES`] elements for each `LANES / W` columns of D, in which element
    /// `c · LANES / W + g` is column c of X at the g-th of them. `y` has [`LANES`] elements per row, those of one column side
    /// by side, to be added up. `W` is 8 or 16; where it is [`LANES`], both are plain panels.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn forward<const W: usize>(
        self,
        d: Strip<'_>,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        if !d.fits::<W>(x, y) {
            return Err(Error::Operands);
        }
        self.run(Forward::<W> { d, x, y, ahead });
        Ok(())
    }

    /// Z += Dᵀ·Y for a strip D: `y` has [`LANES`] elements per row, each element of Y `LANES / W` times, and `z` is packed as
    /// X in [`Kernel::forward`]. `W` is 8 or 16.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn backward<const W: usize>(
        self,
        d: Strip<'_>,
        y: &[f32],
        z: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        if !d.fits::<W>(z, y) {
            return Err(Error::Operands);
        }
        self.run(Backward::<W> { d, y, z, ahead });
        Ok(())
    }
}
