//! Decodes entries of a quantised weight.

use crate::error::filled;
use phlora_core::quantized::{Mxfp4, Quantized, Scheme};
use phlora_core::{Error, Shape};
use std::ops::Range;

/// Weights per scale in MXFP4.
const MXFP4_LEN: usize = 32;

/// The entries of a quantised weight, or of some of its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoder<'m> {
    matrix: Matrix<'m>,
    /// Where its entries begin in the matrix.
    first: usize,
    /// Bytes of all stored tensors of the whole weight.
    pub(crate) stored_len: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Matrix<'m> {
    /// In the order that it is stored in.
    Stored(Quantized<'m>),
    /// A stack of matrices, each the transpose of what is stored.
    Turned(Turned<'m>),
}

/// A stack of MXFP4 matrices [out, in] that is seen as [in, out].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turned<'m> {
    stack: Mxfp4<'m>,
    out: usize,
    input: usize,
}

impl<'m> Turned<'m> {
    /// Checks that `stack` holds `count` matrices.
    pub(crate) fn new(stack: Mxfp4<'m>, count: usize, [out, input]: [usize; 2]) -> Result<Self, Error> {
        let rows = count.checked_mul(out).ok_or(Error::TooLarge)?;
        Quantized::new(Shape { rows, cols: input }, Scheme::Mxfp4(stack))?;
        Ok(Self { stack, out, input })
    }

    /// Decodes rows of [count·in, out] into `out`.
    fn decode(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), Error> {
        let (mut codes, mut scales, mut values) =
            (Vec::new(), Vec::new(), room(self.out.saturating_mul(MXFP4_LEN))?);
        let (mut row, mut out) = (rows.start, out);
        while row < rows.end {
            // One block of columns of all rows that are stored.
            let (matrix, col) = (row / self.input, row % self.input);
            let (block, skipped) = (col / MXFP4_LEN, col % MXFP4_LEN);
            let taken = (MXFP4_LEN - skipped).min(rows.end - row);
            codes.clear();
            scales.clear();
            for stored in matrix * self.out..(matrix + 1) * self.out {
                let at = stored * (self.input / MXFP4_LEN) + block;
                codes.extend_from_slice(
                    self.stack
                        .weight
                        .get(at * MXFP4_LEN / 2..)
                        .unwrap_or_default()
                        .get(..MXFP4_LEN / 2)
                        .unwrap_or_default(),
                );
                scales.extend(self.stack.scales.get(at));
            }
            let stack = Scheme::Mxfp4(Mxfp4 { weight: &codes, scales: &scales });
            Quantized::new(Shape { rows: self.out, cols: MXFP4_LEN }, stack)?
                .decode(0..self.out, &mut values)?;
            let (now, rest) = out.split_at_mut(taken * self.out);
            for (col, out) in (skipped..).zip(now.chunks_exact_mut(self.out)) {
                out.iter_mut()
                    .zip(values.iter().skip(col).step_by(MXFP4_LEN))
                    .for_each(|(out, value)| *out = *value);
            }
            (row, out) = (row + taken, rest);
        }
        Ok(())
    }
}

/// Zeros, unless the system refuses the memory: the size follows from a file.
fn room(entries: usize) -> Result<Vec<f32>, Error> {
    filled(0.0, entries).map_err(|_| Error::TooLarge)
}

impl<'m> Decoder<'m> {
    pub(crate) fn new(matrix: Matrix<'m>, stored_len: usize) -> Self {
        Self { matrix, first: 0, stored_len }
    }

    /// The same from entry `first` on.
    pub(crate) fn skip(self, first: usize) -> Self {
        Self { first: self.first + first, ..self }
    }

    /// Entries of a row, of which whole ones are decoded.
    fn row_len(&self) -> usize {
        match &self.matrix {
            Matrix::Stored(matrix) => matrix.cols(),
            Matrix::Turned(turned) => turned.out,
        }
        .max(1)
    }

    /// Decodes `entries` into `out`, which is as long.
    pub(crate) fn decode(&self, entries: Range<usize>, out: &mut [f32]) -> Result<(), Error> {
        let cols = self.row_len();
        let (start, end) = (self.first + entries.start, self.first + entries.end);
        let rows = start / cols..end.div_ceil(cols);
        if rows.start * cols == start && rows.end * cols == end {
            return self.rows(rows, out);
        }
        let mut whole = room(rows.len().saturating_mul(cols))?;
        self.rows(rows.clone(), &mut whole)?;
        out.copy_from_slice(&whole[start - rows.start * cols..][..entries.len()]);
        Ok(())
    }

    fn rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), Error> {
        match &self.matrix {
            Matrix::Stored(matrix) => matrix.decode(rows, out),
            Matrix::Turned(turned) => turned.decode(rows, out),
        }
    }
}
