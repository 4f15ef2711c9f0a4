//! Transposition in squares that fit into registers.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Error,
    kernel::{
        Kernel,
        isa::{Isa, Op, SQUARE},
        portable,
    },
};

/// A row-major matrix, and room for as many elements.
struct Transpose<'a> {
    matrix: &'a [f32],
    rows: usize,
    cols: usize,
    out: &'a mut [f32],
}

impl Op for Transpose<'_> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        let Self { matrix, rows, cols, out } = self;
        portable::transpose(matrix, (0..rows, 0..cols), (rows, cols), out);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { matrix, rows, cols, out } = self;
        let (whole_rows, whole_cols) = (rows / SQUARE * SQUARE, cols / SQUARE * SQUARE);
        for i in (0..whole_rows).step_by(SQUARE) {
            for j in (0..whole_cols).step_by(SQUARE) {
                // SAFETY: the square lies within both sides; the caller's promise.
                unsafe {
                    let (from, to) = (matrix.as_ptr().add(i * cols + j), out.as_mut_ptr().add(j * rows + i));
                    I::transpose((from, cols), (to, rows));
                }
            }
        }
        portable::transpose(matrix, (0..whole_rows, whole_cols..cols), (rows, cols), out);
        portable::transpose(matrix, (whole_rows..rows, 0..cols), (rows, cols), out);
    }
}

impl Kernel {
    /// out[j, i] = matrix[i, j] for a row-major `matrix` of `cols` columns; as many elements on both sides.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn transpose(self, matrix: &[f32], cols: usize, out: &mut [f32]) -> Result<(), Error> {
        let rows = matrix.len().checked_div(cols).unwrap_or(0);
        if matrix.len() != rows * cols || out.len() < matrix.len() {
            return Err(Error::Operands);
        }
        self.run(Transpose { matrix, rows, cols, out });
        Ok(())
    }
}
