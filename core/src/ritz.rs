//! Eigenvalues and eigenvectors of a Gram matrix YᵀY: the singular values and right vectors of Y.

use crate::{
    Error, Kernel,
    jacobi::{Svd, Sweeps},
    jacobi_svd,
};

/// A diagonal that shrank below this share of itself is rounding, not signal.
const NOISE: f32 = 4.0 * f32::EPSILON;

/// Factors the leading `size` × `size` part of the symmetric `gram` (leading dimension `ld`) as L·Lᵀ with
/// diagonal pivoting, then rotates the columns of L: on return column j of `vectors` (by columns, `size`
/// elements each) is the eigenvector of the j-th largest eigenvalue and `sigma[j]` its square root.
///
/// The factor is graded by the pivoting and small eigenvalues are as accurate as the scaled matrix allows:
/// Drmač and Veselić (2008). Of `gram` only the upper triangle is read, `vectors` needs `size`² elements and `sigma` `size`.
pub fn ritz(
    kernel: Kernel,
    gram: &[f32],
    ld: usize,
    size: usize,
    vectors: &mut [f32],
    sigma: &mut [f32],
    sweeps: Sweeps,
) -> Result<Svd, Error> {
    let rank = pivoted_cholesky(kernel, gram, ld, size, vectors, sigma);
    vectors[rank * size..size * size].fill(0.0);
    sigma[..size].fill(0.0);
    let svd = jacobi_svd(kernel, size, &mut vectors[..rank * size], &mut sigma[..rank], None, sweeps);
    svd.map_err(|_| Error::OutOfRange)
}

/// Goes on rotating what [`ritz`] left, down to the tolerance of `sweeps`.
pub fn refine(
    kernel: Kernel,
    size: usize,
    rank: usize,
    vectors: &mut [f32],
    sigma: &mut [f32],
    sweeps: Sweeps,
) -> Result<Svd, Error> {
    for (column, &sigma) in vectors.chunks_exact_mut(size.max(1)).zip(&sigma[..rank]) {
        for x in column {
            *x *= sigma;
        }
    }
    let svd = jacobi_svd(kernel, size, &mut vectors[..rank * size], &mut sigma[..rank], None, sweeps);
    svd.map_err(|_| Error::OutOfRange)
}

/// Writes the columns of L, without permuting rows: G = Σ lₖ·lₖᵀ. `left` is the workspace for the
/// remaining diagonal. Returns the numerical rank.
fn pivoted_cholesky(
    kernel: Kernel,
    gram: &[f32],
    ld: usize,
    size: usize,
    l: &mut [f32],
    left: &mut [f32],
) -> usize {
    for i in 0..size {
        left[i] = gram[i * ld + i];
    }
    for k in 0..size {
        let mut pivot = None;
        let mut largest = 0.0;
        for (i, &value) in left[..size].iter().enumerate() {
            if value > largest {
                (pivot, largest) = (Some(i), value);
            }
        }
        let Some(pivot) = pivot else { return k };
        let (done, column) = l.split_at_mut(k * size);
        let column = &mut column[..size];
        for (i, x) in column.iter_mut().enumerate() {
            *x = gram[i.min(pivot) * ld + i.max(pivot)];
        }
        for earlier in done.chunks_exact(size) {
            let factor = earlier[pivot];
            if factor != 0.0 {
                kernel.subtract_scaled(column, factor, earlier);
            }
        }
        let root = libm::sqrtf(largest);
        for (i, x) in column.iter_mut().enumerate() {
            let gone = left[i] <= 0.0 && i != pivot;
            *x = if gone { 0.0 } else { *x / root };
            left[i] -= *x * *x;
            if left[i] < NOISE * gram[i * ld + i] {
                left[i] = 0.0;
            }
        }
        column[pivot] = root;
        left[pivot] = 0.0;
    }
    size
}
