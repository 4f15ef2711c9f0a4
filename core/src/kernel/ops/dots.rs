//! Stored rows times vectors.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Dtype, Error, Rows,
    kernel::{
        Kernel, LANES, dots,
        formats::{Half, Q8_0, Single},
        isa::{Isa, Op},
        operands::PIECE,
        short,
    },
};

/// `out[i][t]` = (row i)·x\[t\]; false, and nothing done, for a format without loads of its own.
struct Dots<'a, const T: usize> {
    rows: Rows<'a>,
    row_bytes: usize,
    x: [&'a [f32]; T],
    out: &'a mut [[f32; T]],
}

impl<const T: usize> Op for Dots<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn portable(self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> bool {
        let Self { rows: Rows { dtype, bytes, .. }, row_bytes, x, out } = self;
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe {
            match dtype {
                Dtype::F32 => short::dots::<I::Vector, Single, T>(bytes, row_bytes, x, out),
                Dtype::F16 => short::dots::<I::Vector, Half, T>(bytes, row_bytes, x, out),
                Dtype::Bf16 => short::dots::<I::Vector, I::Bf16, T>(bytes, row_bytes, x, out),
                dtype if dtype.is_q8_0() => dots::dots::<I::Vector, Q8_0, T>(bytes, row_bytes, x, out),
                _ => return false,
            }
        }
        true
    }
}

impl Kernel {
    /// `out[i]` = (row i of `rows`)·x, for `out.len()` rows of `x.len()` elements: each read once, decoded in registers
    /// where the format allows it. A row's bits do not depend on the rows beside it.
    ///
    /// # Errors
    /// [`Error::Operands`] when the rows are too few, or rows of that length do not exist in the format.
    pub(crate) fn dots(self, rows: Rows<'_>, x: &[f32], out: &mut [f32]) -> Result<(), Error> {
        self.dots_beside(rows, [x], out.as_chunks_mut::<1>().0)
    }

    /// The same for vectors of one length, side by side: `out[i][t]` = (row i)·x\[t\]. Other vectors beside it do not change
    /// the bits.
    ///
    /// # Errors
    /// As for [`Kernel::dots`].
    pub(crate) fn dots_beside<const T: usize>(
        self,
        rows: Rows<'_>,
        x: [&[f32]; T],
        out: &mut [[f32; T]],
    ) -> Result<(), Error> {
        let len = x.first().map_or(0, |x| x.len());
        let fits =
            |row_bytes: usize| row_bytes.checked_mul(out.len()).is_some_and(|need| need <= rows.bytes.len());
        let row_bytes = rows.dtype.row_bytes(len).filter(|&row_bytes| fits(row_bytes));
        let row_bytes = row_bytes.filter(|_| x.iter().all(|x| x.len() == len));
        let row_bytes = row_bytes.ok_or(Error::Operands)?;
        if len == 0 {
            out.as_flattened_mut().fill(0.0);
            return Ok(());
        }
        if T > 1 && len <= LANES && !self.is_portable() {
            return self.dots_in_turn(rows, row_bytes, x, out);
        }
        let done = self.run(Dots { rows, row_bytes, x, out });
        if !done {
            self.decoded_dots(rows, row_bytes, x, out);
        }
        Ok(())
    }

    /// [`Kernel::dots_beside`] for rows no longer than a register, for which a vector alone has ways of its own.
    /// Not inlined, which keeps its local array out of the frames of callers.
    #[inline(never)]
    fn dots_in_turn<const T: usize>(
        self,
        rows: Rows<'_>,
        row_bytes: usize,
        x: [&[f32]; T],
        out: &mut [[f32; T]],
    ) -> Result<(), Error> {
        let mut dots = [0.0; PIECE];
        for (i, out) in out.chunks_mut(PIECE).enumerate() {
            let bytes = rows.bytes.get(i * PIECE * row_bytes..).unwrap_or_default();
            let dots = &mut dots[..out.len()];
            for (t, x) in x.iter().enumerate() {
                self.dots(Rows::new(rows.dtype, bytes), x, dots)?;
                out.iter_mut().zip(&*dots).for_each(|(out, dot)| out[t] = *dot);
            }
        }
        Ok(())
    }

    /// [`Kernel::dots_beside`], decoded before: as many whole rows as a [`PIECE`] holds, or pieces of one row.
    /// Not inlined, which keeps its local array out of the frames of callers.
    #[inline(never)]
    fn decoded_dots<const T: usize>(
        self,
        rows: Rows<'_>,
        row_bytes: usize,
        x: [&[f32]; T],
        out: &mut [[f32; T]],
    ) {
        let mut values = [0.0; PIECE];
        let len = x.first().map_or(0, |x| x.len());
        let together = (PIECE / len).max(1);
        for (i, out) in out.chunks_mut(together).enumerate() {
            let bytes = rows.bytes.get(i * together * row_bytes..).unwrap_or_default();
            out.as_flattened_mut().fill(0.0);
            for from in (0..len).step_by(PIECE) {
                let cols = PIECE.min(len - from);
                let bytes =
                    rows.dtype.row_bytes(from).and_then(|start| bytes.get(start..)).unwrap_or_default();
                let values = &mut values[..out.len() * cols];
                self.decode(Rows::new(rows.dtype, bytes), values);
                for (out, row) in out.iter_mut().zip(values.chunks_exact(cols)) {
                    for (out, x) in out.iter_mut().zip(x) {
                        *out += self.dot(row, &x[from..from + cols]);
                    }
                }
            }
        }
    }
}
