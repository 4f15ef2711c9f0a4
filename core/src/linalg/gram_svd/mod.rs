//! Singular values and leading right singular vectors of Y, from its Gram matrix YᵀY.
//!
//! Householder reflections make the matrix tridiagonal, QL steps find all eigenvalues of that, inverse iteration the
//! vectors that are asked for, and the reflections turn these back. Rows and columns come in the order of the diagonal,
//! smallest first: then errors stay small beside the entries that they meet, and small eigenvalues of a graded matrix
//! are as accurate as the scaled matrix allows.

mod inverse;
mod tridiagonal;

use crate::{
    Error, Kernel,
    kernel::LANES,
    linalg::scratch::{Buffer, Scratch},
};
use inverse::Iteration;
use tridiagonal::{REFLECTORS, Reflectors, Tridiagonal, eigenvalues, reduce, row_number};

/// Vectors of the size of the matrix that are worked with.
const VECTORS: usize = 8;

/// Eigenvalues as near to each other as this share of the largest one have vectors that rounding mixes: these are made
/// orthogonal.
const NEAR: f32 = 1e-3;

/// Scratch for [`gram_svd`] of a matrix of `size` rows.
pub const fn gram_svd_scratch(size: usize) -> Scratch {
    if size == 0 {
        return Scratch::EMPTY;
    }
    match (size.checked_next_multiple_of(LANES), size.checked_next_multiple_of(REFLECTORS)) {
        (Some(row), Some(rows)) => Scratch::ALIGNED
            .and(Scratch::matrix(rows, row))
            .and(Scratch::matrix(VECTORS, row))
            .and(Scratch::matrix(rows, REFLECTORS))
            .and(Scratch::matrix(REFLECTORS, row)),
        _ => Scratch::OVERFLOW,
    }
}

/// Finds the singular values of Y and its leading right singular vectors.
///
/// * `gram`: YᵀY, row-major with leading dimension `ld`, of as many rows as `sigma` has elements. Only the upper triangle is
///   read.
/// * `vectors`: by columns of as many elements; on return column j is the vector of `sigma[j]`, of length 1. As many as there
///   is room for, whole columns and at most all. They are orthogonal to about 10⁻⁴ where eigenvalues are nearly equal, and to
///   some roundings else.
/// * `sigma`: on return all singular values, descending; 0 for an eigenvalue that rounding made negative.
/// * `scratch`: [`gram_svd_scratch`].
///
/// No buffer may overlap another. Besides them no memory is used. Returns whether every eigenvalue was found; if not, some
/// are only near.
///
/// # Errors
/// [`Error::OutputLength`] when `gram` is too short or `vectors` not whole columns; [`Error::ScratchTooSmall`];
/// [`Error::OutOfRange`] when an entry is not finite. Nothing is written in any of these cases.
///
/// Method: EISPACK TRED2 with the compact form of LAPACK LARFT, LAPACK STERF and STEIN.
pub fn gram_svd(
    kernel: Kernel,
    gram: &[f32],
    ld: usize,
    vectors: &mut [f32],
    sigma: &mut [f32],
    scratch: &mut [f32],
) -> Result<bool, Error> {
    let size = sigma.len();
    let needed = gram_svd_scratch(size).count()?;
    if scratch.len() < needed {
        return Err(Error::ScratchTooSmall { needed });
    }
    let expected = size.saturating_sub(1).checked_mul(ld.max(size)).and_then(|len| len.checked_add(size));
    let expected = expected.ok_or(Error::TooLarge)?;
    if ld < size || gram.len() < expected {
        return Err(Error::OutputLength { expected });
    }
    let expected = vectors.len().checked_div(size).unwrap_or(0).min(size) * size;
    if vectors.len() != expected {
        return Err(Error::OutputLength { expected });
    }
    let upper = gram.chunks(ld.max(1)).take(size).enumerate().map(|(i, row)| &row[i..size]);
    // Anything times zero is zero, unless it is not finite.
    if upper.clone().any(|row| row.iter().fold(0.0, |sum, x| sum + x * 0.0) != 0.0) {
        return Err(Error::OutOfRange);
    }
    sigma.fill(0.0);
    vectors.fill(0.0);
    let largest = upper.fold(0.0_f32, |most, row| most.max(row[0]));
    if largest == 0.0 {
        vectors.iter_mut().step_by(size + 1).for_each(|x| *x = 1.0);
        return Ok(true);
    }
    let mut scratch = Buffer(scratch);
    scratch.align();
    let row = size.next_multiple_of(LANES);
    let matrix = scratch.take(size.next_multiple_of(REFLECTORS) * row);
    let mut next = || scratch.take(row);
    let (order, diagonal, beside, inverse) = (next(), next(), next(), next());
    let mut rows = [next(), next(), next(), next()];
    let order = &mut order[..size];
    // An even power of two that brings the entries near to 1; subnormal ones as near as f32 has a factor.
    let exponent = libm::ilogbf(largest).max(-126) & !1;
    copy(gram, ld, libm::ldexpf(1.0, -exponent), order, matrix);
    let mut tridiagonal = Tridiagonal { diagonal: &mut diagonal[..size], beside };
    let [w, p, spare, _] = &mut rows;
    reduce(kernel, matrix, &mut tridiagonal, inverse, w, p)?;
    sigma.copy_from_slice(tridiagonal.diagonal);
    spare.copy_from_slice(tridiagonal.beside);
    let found = eigenvalues(&mut Tridiagonal { diagonal: sigma, beside: spare });
    sigma.reverse();
    sort(sigma, |x, y| x > y);
    let mut iteration = Iteration::new(rows);
    for (j, &value) in sigma.iter().enumerate().take(vectors.len() / size) {
        let (earlier, column) = vectors.split_at_mut(j * size);
        let far = sigma[..j].iter().take_while(|&&other| other - value > NEAR * sigma[0]).count();
        iteration.find(kernel, &tridiagonal, (value, sigma[0]), (earlier, far), &mut column[..size]);
    }
    let (products, panel) =
        (scratch.take(size.next_multiple_of(REFLECTORS) * REFLECTORS), scratch.take(REFLECTORS * row));
    Reflectors::new(kernel, matrix, row, inverse, products).apply(vectors, order, panel)?;
    for value in sigma {
        *value = libm::ldexpf(libm::sqrtf(value.max(0.0)), exponent / 2);
    }
    Ok(found)
}

/// Fills `order` with the rows of `gram` by their diagonal, smallest first, and `matrix` with the lower triangle in that
/// order, times `unit`; the squares of [`LANES`] rows on the diagonal as a whole, and zeros in the rest.
fn copy(gram: &[f32], ld: usize, unit: f32, order: &mut [f32], matrix: &mut [f32]) {
    let size = order.len();
    order.iter_mut().rev().zip(0..).for_each(|(at, i)| *at = f32::from_bits(i));
    let on_diagonal = |at: f32| gram[row_number(at) * (ld + 1)];
    sort(order, |i, j| on_diagonal(i) < on_diagonal(j));
    matrix.fill(0.0);
    for (i, row) in matrix.chunks_exact_mut(size.next_multiple_of(LANES)).take(size).enumerate() {
        let own = row_number(order[i]);
        let count = size.min((i + 1).next_multiple_of(LANES));
        for (x, &other) in row.iter_mut().zip(&order[..count]) {
            let other = row_number(other);
            *x = gram[own.min(other) * ld + own.max(other)] * unit;
        }
    }
}

/// Sorts by insertion: both uses are nearly in order, since early columns of Y are the longest and small eigenvalues are
/// found first. Those of `core` take 8 KiB of code on a Cortex-M.
fn sort(values: &mut [f32], is_before: impl Fn(f32, f32) -> bool) {
    for end in 1..values.len() {
        let mut at = end;
        while at > 0 && is_before(values[at], values[at - 1]) {
            values.swap(at, at - 1);
            at -= 1;
        }
    }
}
