//! Rows merged into weights: W += Yᵀ·D.
//!
//! A square of vectors of the sum stays in registers, so that a step takes half as many loads as multiply-adds; it is added
//! once, to weights that are decoded and encoded in registers as well.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Dtype, Error,
    kernel::{
        Kernel, Lines, LinesMut, Prefetch, RowMajor,
        formats::{Bf16, Half, Single, Sink},
        isa::{Isa, Op},
        operands::holds,
        portable,
        tiles::{MergeTile, Stored},
        vector::{Vector, Walk, ZERO},
    },
};

/// W += Yᵀ·D for weights of a format that is decoded in registers.
struct MergeRows<'a, 'b, const W: usize> {
    d: RowMajor<'a>,
    y: &'a [f32],
    dtype: Dtype,
    weights: Stored,
    ahead: &'a mut Prefetch<'b>,
}

impl<const W: usize> Op for MergeRows<'_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {}
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        macro_rules! into {
            ($sink:ty) => {
                I::MergeTile::merge::<$sink, W>(self.d, self.y, self.weights, self.ahead)
            };
        }
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe {
            match self.dtype {
                Dtype::F32 => into!(Single),
                Dtype::F16 => into!(Half),
                Dtype::Bf16 => into!(Bf16),
                _ => {}
            }
        }
    }
}

impl<V: Vector, const MR: usize, const NV: usize> MergeTile<V> for [[V; NV]; MR] {
    /// In tiles of `MR` rows and the rest one by one.
    ///
    /// # Safety
    /// `y` holds `d.rows` × `W` elements and `weights` at most `W` rows of `d.width`, a multiple of the lanes.
    #[inline(always)]
    unsafe fn merge<S: Sink<V>, const W: usize>(
        d: RowMajor<'_>,
        y: &[f32],
        weights: Stored,
        ahead: &mut Prefetch<'_>,
    ) {
        let ahead =
            &mut Walk::new(ahead, d.width.div_ceil(NV * V::LANES) * weights.rows.div_ceil(MR) * d.rows);
        let mut w = 0;
        // SAFETY: each tile ends by `weights.rows`.
        unsafe {
            while w + MR <= weights.rows {
                merge_wide::<V, S, MR, NV, W>(d, y.as_ptr().add(w), weights.skip(w), ahead);
                w += MR;
            }
            while w < weights.rows {
                merge_wide::<V, S, 1, NV, W>(d, y.as_ptr().add(w), weights.skip(w), ahead);
                w += 1;
            }
        }
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

/// `MR` rows of W and all columns of D.
///
/// # Safety
/// As for [`MergeTile::merge`], of `MR` rows.
#[inline(always)]
unsafe fn merge_wide<V: Vector, S: Sink<V>, const MR: usize, const NV: usize, const W: usize>(
    d: RowMajor<'_>,
    y: *const f32,
    weights: Stored,
    ahead: &mut Walk,
) {
    let rows = (d.data.as_ptr(), d.row, d.rows);
    let mut column = 0;
    // SAFETY: each tile ends by `width`.
    unsafe {
        while column + NV * V::LANES <= d.width {
            merge_tile::<V, S, MR, NV, W>(rows, y, (weights, column), ahead);
            column += NV * V::LANES;
        }
        while column < d.width {
            merge_tile::<V, S, MR, 1, W>(rows, y, (weights, column), ahead);
            column += V::LANES;
        }
    }
}

impl Kernel {
    /// Whether weights of this format are decoded and encoded in registers, where they are used.
    pub(crate) fn in_registers(self, dtype: Dtype) -> bool {
        !self.is_portable() && matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }

    /// W += Yᵀ·D by rows, in the format of the weights: `y` is `d.rows` × `W`, row-major, and `weights` holds `rows` rows, at
    /// most `W`, of `d.width` elements. What is added to are they, or the rows `from` of the same format. The sum is made in
    /// f32 and added once, then rounded as [`Kernel::encode`] does. `W` is 8 or 16.
    ///
    /// # Errors
    /// [`Error::Operands`], for a format that is not [merged into in registers](Kernel::in_registers) as well.
    pub(crate) fn merge_rows<const W: usize>(
        self,
        d: RowMajor<'_>,
        y: &[f32],
        from: Option<Lines<'_>>,
        weights: &mut LinesMut<'_>,
        rows: usize,
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        let dtype = weights.dtype;
        let of_one = |lines: Lines<'_>| lines.dtype == dtype && lines.holds(rows, d.width);
        let stored_fit = self.in_registers(dtype) && of_one(weights.view()) && from.is_none_or(of_one);
        if !d.fits::<W>(y, rows) || !stored_fit {
            return Err(Error::Operands);
        }
        let to = weights.bytes.as_mut_ptr();
        let from = from.map_or((to.cast_const(), weights.row), |from| (from.bytes.as_ptr(), from.row));
        let weights = Stored { from, to: (to, weights.row), rows };
        self.run(MergeRows::<W> { d, y, dtype, weights, ahead });
        Ok(())
    }

    /// [`Kernel::merge_rows`] into decoded weights: rows of `d.width` elements.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn merge_values<const W: usize>(
        self,
        d: RowMajor<'_>,
        y: &[f32],
        values: &mut [f32],
        rows: usize,
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        if !d.fits::<W>(y, rows) || !holds(values, rows, d.width) {
            return Err(Error::Operands);
        }
        if self.is_portable() {
            ahead.step();
            portable::merge_rows(W, d, y, &mut values[..rows * d.width]);
            return Ok(());
        }
        let (at, row) = (values.as_mut_ptr().cast::<u8>(), size_of::<f32>() * d.width);
        let weights = Stored { from: (at, row), to: (at, row), rows };
        self.run(MergeRows::<W> { d, y, dtype: Dtype::F32, weights, ahead });
        Ok(())
    }
}
