//! The thin product of any matrix, C += A·X.
//!
//! A tile of `MR` rows × `NV` vectors of C stays in registers while the depth runs by: per step `NV` loads
//! of X, `MR` broadcasts of A, `MR`·`NV` fused multiply-adds. A is read through two strides, so the same
//! tile serves A and its transpose.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Error,
    kernel::{
        Kernel, Strided,
        isa::{Isa, Op},
        operands::holds,
        portable,
        tiles::ProductTile,
        vector::{SOON, Vector},
    },
};

/// C += A·X: `a` is `rows` × `depth`, `x` `depth` × `W`, `c` `rows` × `W`.
struct Product<'a, const W: usize> {
    a: Strided<'a>,
    rows: usize,
    depth: usize,
    x: &'a [f32],
    c: &'a mut [f32],
}

impl<const W: usize> Op for Product<'_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        let Self { a, rows, depth, x, c } = self;
        portable::product::<W>(a, rows, depth, x, c);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { a, rows, depth, x, c } = self;
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe {
            match W {
                8 => I::ProductTile8::product(a, rows, depth, x, c),
                16 => I::ProductTile16::product(a, rows, depth, x, c),
                _ => portable::product::<W>(a, rows, depth, x, c),
            }
        }
    }
}

impl<V: Vector, const MR: usize, const NV: usize> ProductTile for [[V; NV]; MR] {
    /// In tiles of `MR` rows and the rest in smaller ones.
    #[inline(always)]
    unsafe fn product(a: Strided<'_>, rows: usize, depth: usize, x: &[f32], c: &mut [f32]) {
        // Panels and their transposes, of which addresses are known, and all else.
        // SAFETY: the caller's promise.
        unsafe {
            match a.row {
                1 => product_of::<V, MR, NV, 1>(a, rows, depth, x, c),
                8 => product_of::<V, MR, NV, 8>(a, rows, depth, x, c),
                16 => product_of::<V, MR, NV, 16>(a, rows, depth, x, c),
                _ => product_of::<V, MR, NV, 0>(a, rows, depth, x, c),
            }
        }
    }
}

/// [`ProductTile::product`] where rows of A are `ROW` elements apart, or any number where that is 0.
///
/// # Safety
/// As for [`ProductTile::product`].
#[inline(always)]
unsafe fn product_of<V: Vector, const MR: usize, const NV: usize, const ROW: usize>(
    a: Strided<'_>,
    rows: usize,
    depth: usize,
    x: &[f32],
    c: &mut [f32],
) {
    let (strides, x, c) = ((a.row, a.col), x.as_ptr(), c.as_mut_ptr());
    let mut i = 0;
    // SAFETY: row i of A starts at i * row, row i of C at i * NV * LANES, and each tile ends by `rows`.
    unsafe {
        let at = |i: usize| (a.data.as_ptr().add(i * a.row), c.add(i * NV * V::LANES));
        while i + MR <= rows {
            let (a, c) = at(i);
            tile::<V, MR, NV, ROW>(a, strides, depth, x, c);
            i += MR;
        }
        while i + 4 <= rows {
            let (a, c) = at(i);
            tile::<V, 4, NV, ROW>(a, strides, depth, x, c);
            i += 4;
        }
        while i < rows {
            let (a, c) = at(i);
            tile::<V, 1, NV, ROW>(a, strides, depth, x, c);
            i += 1;
        }
    }
}

/// `MR` rows of C, `NV` vectors wide; rows of A are `ROW` elements apart, or as the strides say where that is 0.
///
/// # Safety
/// `a` holds `MR` rows of `depth` elements through the strides, `x` holds `depth`·`NV` vectors and `c`
/// holds `MR`·`NV`; the processor has the vector's features.
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const ROW: usize>(
    a: *const f32,
    (row, col): (usize, usize),
    depth: usize,
    x: *const f32,
    c: *mut f32,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let zero = V::load(c);
        let mut sum = [[zero; NV]; MR];
        for i in 0..MR {
            for v in 0..NV {
                sum[i][v] = V::load(c.add((i * NV + v) * V::LANES));
            }
        }
        let row = if ROW > 0 { ROW } else { row };
        let (mut a, first) = (a, a);
        for k in 0..depth {
            let mut wide = [zero; NV];
            for v in 0..NV {
                wide[v] = V::load(x.add((k * NV + v) * V::LANES));
            }
            // A panel and its transpose bring lines on only once.
            if ROW == 1 {
                V::prefetch_near(a.wrapping_add(SOON * col).cast());
                V::prefetch_near(x.wrapping_add((k + SOON) * NV * V::LANES).cast());
            } else if ROW > 1 {
                V::prefetch_near(first.wrapping_add((MR + k) * ROW).cast());
                V::prefetch_near(c.wrapping_add((MR + k) * NV * V::LANES).cast());
            }
            for i in 0..MR {
                let a = V::splat(a.add(i * row));
                for v in 0..NV {
                    sum[i][v] = sum[i][v].fused(a, wide[v]);
                }
            }
            a = V::alone(a.wrapping_add(col));
        }
        for i in 0..MR {
            for v in 0..NV {
                sum[i][v].store(c.add((i * NV + v) * V::LANES));
            }
        }
    }
}

impl Kernel {
    /// C += A·X for a thin X: `a` is `rows` × `depth` with any strides, `x` is `depth` × `W` and `c` is
    /// `rows` × `W`, both row-major. `W` is 8 or 16.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn product<const W: usize>(
        self,
        a: Strided<'_>,
        rows: usize,
        depth: usize,
        x: &[f32],
        c: &mut [f32],
    ) -> Result<(), Error> {
        let fits = a.holds(rows, depth) && holds(x, depth, W) && holds(c, rows, W);
        if !fits {
            return Err(Error::Operands);
        }
        // Of nothing there is nothing to add, and no element of A that a pointer to a row could point to.
        if rows > 0 && depth > 0 {
            self.run(Product::<W> { a, rows, depth, x, c });
        }
        Ok(())
    }
}
