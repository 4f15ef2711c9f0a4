//! ‖Δ − s·B·A‖² of one matrix, streamed a few rows at a time.

use crate::error::{Result, filled};
use crate::run::pool::Ticket;
use crate::source::measure::{DECODED_ROWS, decode};
use crate::source::tensor::Tensor;

/// Rows that are done in one pass over the right factor.
const ROWS: usize = 4;

/// Columns of the product made at once: with [`ROWS`] rows of them the sums stay in the first cache.
const COLUMNS: usize = 512;

/// The product s·L·R with the shape of the stored weight: L = B and R = A, or Aᵀ and Bᵀ where it is
/// transposed.
#[derive(Debug)]
pub(crate) struct Product {
    /// [rows, rank], the scale in it.
    left: Vec<f32>,
    /// [rank, cols].
    right: Vec<f32>,
    rank: usize,
    rows: usize,
    cols: usize,
}

/// Squared norms of one matrix.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Residual {
    pub(crate) delta: f64,
    /// What the product leaves of it.
    pub(crate) rest: f64,
    /// First row whose difference is not finite.
    pub(crate) non_finite_row: Option<usize>,
}

impl Product {
    /// Takes the decoded factors `a` [rank, in] and `b` [out, rank] of a module, and its rank
    /// and scale.
    pub(crate) fn new(
        a: Vec<f32>,
        b: Vec<f32>,
        rows: usize,
        cols: usize,
        (rank, scale): (usize, f64),
        transposed: bool,
    ) -> Self {
        let (mut left, right) = if transposed { (transpose(&a, rows), transpose(&b, rank)) } else { (b, a) };
        for value in &mut left {
            *value = (f64::from(*value) * scale) as f32;
        }
        Self { left, right, rank, rows, cols }
    }

    /// Subtracts rows `start..` of the product from `rows`, whole rows of the difference.
    fn subtract_from(&self, start: usize, rows: &mut [f32]) {
        let count = rows.len() / self.cols.max(1);
        for column in (0..self.cols).step_by(COLUMNS) {
            let width = COLUMNS.min(self.cols - column);
            let mut sums = [[0.0_f32; COLUMNS]; ROWS];
            for k in 0..self.rank {
                let right = &self.right[k * self.cols + column..][..width];
                for (row, sums) in sums.iter_mut().enumerate().take(count) {
                    let factor = self.left[(start + row) * self.rank + k];
                    for (sum, value) in sums.iter_mut().zip(right) {
                        *sum += factor * value;
                    }
                }
            }
            for (row, sums) in rows.chunks_exact_mut(self.cols).zip(&sums) {
                for (value, sum) in row[column..column + width].iter_mut().zip(sums) {
                    *value -= sum;
                }
            }
        }
    }
}

/// Reads both sides once and measures the difference and what `product` leaves of it, each column counted as its scale in
/// `weighed` says.
pub(crate) fn residual(
    base: Tensor<'_>,
    tuned: Tensor<'_>,
    product: &Product,
    weighed: Option<&[f32]>,
    ticket: Ticket<'_>,
) -> Result<Residual> {
    let (base_dtype, tuned_dtype) = (base.readable()?, tuned.readable()?);
    let mut result = Residual::default();
    let at_once = if base.is_quantized() || tuned.is_quantized() { DECODED_ROWS } else { ROWS };
    let (mut delta, mut other) = (filled(0.0, at_once * product.cols)?, filled(0.0, at_once * product.cols)?);
    for start in (0..product.rows).step_by(at_once) {
        let entries = start * product.cols..(start + at_once).min(product.rows) * product.cols;
        let (delta, other) = (&mut delta[..entries.len()], &mut other[..entries.len()]);
        decode(tuned, tuned_dtype, entries.clone(), delta)?;
        decode(base, base_dtype, entries, other)?;
        for (d, b) in delta.iter_mut().zip(&*other) {
            *d -= b;
        }
        if let Some(at) = delta.iter().position(|d| !d.is_finite()) {
            result.non_finite_row = Some(start + at / product.cols);
            return Ok(result);
        }
        result.delta += sum_squares(delta, product.cols, weighed);
        product.subtract_from(start, delta);
        result.rest += sum_squares(delta, product.cols, weighed);
        let size = |dtype: phlora_core::Dtype| dtype.row_bytes(delta.len()).unwrap_or(0);
        ticket.tick(size(base_dtype) + size(tuned_dtype))?;
    }
    Ok(result)
}

/// Σ of squares of rows of `cols` entries.
fn sum_squares(values: &[f32], cols: usize, weighed: Option<&[f32]>) -> f64 {
    let Some(scales) = weighed else { return values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum() };
    let square = |(v, s): (&f32, &f32)| (f64::from(*v) * f64::from(*s)).powi(2);
    values.chunks_exact(cols.max(1)).flat_map(|row| row.iter().zip(scales)).map(square).sum()
}

/// The transpose of a matrix whose rows have `cols` entries.
fn transpose(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols.max(1)).copied()).collect()
}
