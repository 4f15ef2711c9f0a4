//! The last step of every mode: from a subspace and the products with it to lora_a and lora_b.

use crate::{Error, Kernel, Shape, linalg::panels};

/// The largest singular value that is handed out.
const LARGEST: f64 = 0.999 * f32::MAX as f64;

/// `numerator / sigma` as a factor for a vector of length `sigma`; 0 for a direction that is zero, or so far below the
/// largest one that f32 does not hold the factor.
fn ratio(numerator: f64, sigma: f64) -> f32 {
    let ratio = (numerator / sigma) as f32;
    if sigma > 0.0 && ratio.is_finite() { ratio } else { 0.0 }
}

fn all_finite(values: &[f32]) -> bool {
    // Without an early end the loop becomes vector instructions.
    values.iter().fold(true, |finite, x| finite & x.is_finite())
}

/// The caller's output buffers.
pub struct Outputs<'o> {
    /// lora_a, rank × cols.
    pub a: &'o mut [f32],
    /// lora_b, rows × rank.
    pub b: &'o mut [f32],
    /// At least rank elements.
    pub singular_values: &'o mut [f32],
    /// Rank of the factors.
    pub rank: usize,
}

impl Outputs<'_> {
    /// Checks the lengths for factors of `shape`.
    pub fn check(&self, shape: Shape) -> Result<(), Error> {
        for (len, rows) in [(self.a.len(), shape.cols), (self.b.len(), shape.rows)] {
            let expected = rows.checked_mul(self.rank).ok_or(Error::TooLarge)?;
            if len != expected {
                return Err(Error::OutputLength { expected });
            }
        }
        if self.singular_values.len() < self.rank {
            return Err(Error::OutputLength { expected: self.rank });
        }
        Ok(())
    }

    /// Refuses a largest singular value that f32 does not hold, before anything is written. What is measured while the
    /// factors are written may differ by rounding: hence the margin.
    pub fn check_range(&self, largest: f64) -> Result<(), Error> {
        if self.rank > 0 && largest > LARGEST { Err(Error::OutOfRange) } else { Ok(()) }
    }

    /// Zeros in the place of what is not finite, which a caller could not use.
    pub fn check_finite(&mut self) -> Result<(), Error> {
        let outputs = [&*self.a, &*self.b, &*self.singular_values];
        if outputs.iter().all(|values| all_finite(values)) {
            return Ok(());
        }
        self.fill_zero();
        Err(Error::OutOfRange)
    }

    /// Fills the singular values beyond the rank with those `known` ones times `unscale`, as far as there are
    /// any, then with zeros. They stay in descending order.
    pub fn fill_rest(&mut self, known: &[f32], unscale: f64) {
        let mut largest = self.rank.checked_sub(1).map_or(f32::INFINITY, |last| self.singular_values[last]);
        for (i, value) in self.singular_values.iter_mut().enumerate().skip(self.rank) {
            let known = known.get(i).map_or(0.0, |&sigma| (f64::from(sigma) * unscale) as f32);
            largest = largest.min(known);
            *value = largest;
        }
    }

    /// Takes the scales of the columns out of A again.
    pub fn unweigh(&mut self, channels: &[f32]) {
        for row in self.a.chunks_exact_mut(channels.len().max(1)) {
            for (a, &scale) in row.iter_mut().zip(channels) {
                *a = if scale > 0.0 { *a / scale } else { 0.0 };
            }
        }
    }

    /// Factors of the zero matrix.
    pub fn fill_zero(&mut self) {
        self.a.fill(0.0);
        self.b.fill(0.0);
        self.singular_values.fill(0.0);
    }

    /// Writes B = Y·W·Σ^-½ and A = (Q·W·Σ^½)ᵀ, where the columns of W are orthonormal and σⱼ = ‖Y·wⱼ‖ is
    /// measured on what was computed. `vectors` holds W by columns of `size` elements; directions beyond
    /// `found` get zeros. True singular values are `unscale` times those of Y.
    ///
    /// Returns Σσ².
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub fn write<const W: usize>(
        &mut self,
        kernel: Kernel,
        shape: Shape,
        space: Space<'_>,
        unscale: f32,
    ) -> Result<f64, Error> {
        let rank = self.rank;
        let Space { right, left, vectors, size, found, coefficients } = space;
        let groups = rank.div_ceil(W);
        let columns = |group: usize| group * W..rank.min((group + 1) * W);
        let c = &mut coefficients[..groups * W * size];
        for (group, c) in c.chunks_exact_mut(size * W).enumerate() {
            for (k, row) in c.as_chunks_mut::<W>().0.iter_mut().enumerate() {
                for (c, j) in row.iter_mut().zip(group * W..) {
                    *c = if j < found.min(rank) { vectors[j * size + k] } else { 0.0 };
                }
            }
        }
        panels::combine::<W>(kernel, shape.rows, left, c, |group, start, product| {
            for (values, row) in product.iter().zip(self.b.chunks_exact_mut(rank).skip(start)) {
                let row = &mut row[columns(group)];
                row.copy_from_slice(&values[..row.len()]);
            }
        })?;
        let mut kept = 0.0;
        for columns in (0..groups).map(columns) {
            let mut squares = [0.0_f64; W];
            for row in self.b.chunks_exact(rank) {
                for (sum, &value) in squares.iter_mut().zip(&row[columns.clone()]) {
                    *sum += f64::from(value) * f64::from(value);
                }
            }
            let mut inverse = [0.0_f32; W];
            for ((inverse, square), value) in
                inverse.iter_mut().zip(squares).zip(&mut self.singular_values[columns.clone()])
            {
                let sigma = libm::sqrt(square);
                let scaled = sigma * f64::from(unscale);
                *inverse = ratio(libm::sqrt(scaled), sigma);
                let scaled = if *inverse > 0.0 { scaled } else { 0.0 };
                *value = scaled as f32;
                kept += scaled * scaled;
            }
            for row in self.b.chunks_exact_mut(rank) {
                row[columns.clone()].iter_mut().zip(&inverse).for_each(|(b, f)| *b *= f);
            }
        }
        panels::combine::<W>(kernel, shape.cols, right, c, |group, start, product| {
            for (k, j) in columns(group).enumerate() {
                let root = libm::sqrtf(self.singular_values[j]);
                let row = &mut self.a[j * shape.cols + start..];
                row.iter_mut().zip(product).for_each(|(a, values)| *a = values[k] * root);
            }
        })?;
        self.sort(shape);
        Ok(kept)
    }

    /// Writes B = U·Σ^½ and A = (V·Σ^½)ᵀ from the first `found` columns of panels of U (rows × …) and of V·Σ
    /// (cols × …); directions beyond get zeros. True singular values are `unscale` times those of V·Σ.
    ///
    /// Returns Σσ².
    pub fn write_pair<const W: usize>(
        &mut self,
        shape: Shape,
        found: usize,
        u: &[f32],
        v: &[f32],
        unscale: f64,
    ) -> f64 {
        let rank = self.rank;
        let column = |panels: &[f32], rows: usize, j: usize, i: usize| panels[(j / W * rows + i) * W + j % W];
        let mut kept = 0.0;
        if found < rank {
            self.fill_zero();
        }
        for j in 0..rank.min(found) {
            let squares: f64 =
                (0..shape.cols).map(|i| f64::from(column(v, shape.cols, j, i))).map(|x| x * x).sum();
            let sigma = libm::sqrt(squares);
            let inverse = ratio(libm::sqrt(sigma * unscale), sigma);
            let scaled = if inverse > 0.0 { sigma * unscale } else { 0.0 };
            let root = libm::sqrt(scaled) as f32;
            self.singular_values[j] = scaled as f32;
            kept += scaled * scaled;
            for i in 0..shape.rows {
                self.b[i * rank + j] = column(u, shape.rows, j, i) * root;
            }
            for i in 0..shape.cols {
                self.a[j * shape.cols + i] = column(v, shape.cols, j, i) * inverse;
            }
        }
        self.sort(shape);
        kept
    }

    /// Brings the singular values, as measured, into descending order. Only values at rounding level, or
    /// as good as equal ones, are ever out of it.
    fn sort(&mut self, shape: Shape) {
        let rank = self.rank;
        for first in 0..rank {
            let mut largest = first;
            for j in first + 1..rank {
                if self.singular_values[j] > self.singular_values[largest] {
                    largest = j;
                }
            }
            if largest == first {
                continue;
            }
            self.singular_values.swap(first, largest);
            for row in self.b.chunks_exact_mut(rank) {
                row.swap(first, largest);
            }
            for i in 0..shape.cols {
                self.a.swap(first * shape.cols + i, largest * shape.cols + i);
            }
        }
    }
}

/// A subspace of the right side and the products with it, both in panels.
#[derive(Debug)]
pub struct Space<'a> {
    /// Q: cols × size, orthonormal columns.
    pub right: &'a [f32],
    /// Y = Δ·Q: rows × size.
    pub left: &'a [f32],
    /// W by columns of `size` elements.
    pub vectors: &'a [f32],
    /// Dimension of the space.
    pub size: usize,
    /// Columns of W that exist.
    pub found: usize,
    /// Workspace of size elements per column of A, whole panels of them.
    pub coefficients: &'a mut [f32],
}
