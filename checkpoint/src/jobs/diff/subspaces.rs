//! Two products of factors by their singular vectors: what the one has of the other.

use crate::error::{Error, Result, filled};
use phlora_core::{Kernel, Sweeps, jacobi_svd};

/// Directions shorter than this share of the longest are rounding.
const ROUNDING: f32 = 1e-4;

/// Orthonormal directions in and out, and their lengths.
pub(super) struct Directions {
    /// By directions, `rows` entries each.
    out: Vec<f32>,
    /// By directions, `cols` entries each.
    input: Vec<f32>,
    pub(super) sigma: Vec<f64>,
    rows: usize,
    cols: usize,
}

/// What two products have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Common {
    /// ⟨first, second⟩.
    pub(super) inner: f64,
    /// Cosines of the principal angles of what the products write and read, descending.
    pub(super) out: Vec<f32>,
    pub(super) input: Vec<f32>,
    /// ‖first within the directions of second‖² and the other way round.
    pub(super) within: [f64; 2],
}

impl Directions {
    /// Of the factors `a` [held, cols] and `b` [rows, held] with √σ in each.
    pub(super) fn new(a: &[f32], b: &[f32], sigma: &[f32], [rows, cols]: [usize; 2]) -> Self {
        let largest = sigma.first().copied().unwrap_or(0.0);
        let held = sigma.len();
        let known = sigma.iter().take_while(|&&sigma| sigma > ROUNDING * largest).count();
        let (mut out, mut input) = (Vec::with_capacity(known * rows), Vec::with_capacity(known * cols));
        for (at, &sigma) in sigma[..known].iter().enumerate() {
            let root = sigma.sqrt();
            out.extend((0..rows).map(|row| b[row * held + at] / root));
            input.extend(a[at * cols..][..cols].iter().map(|value| value / root));
        }
        Self { out, input, sigma: sigma[..known].iter().map(|&sigma| f64::from(sigma)).collect(), rows, cols }
    }

    pub(super) fn rank(&self) -> usize {
        self.sigma.len()
    }
}

/// Compares two products of one shape.
pub(super) fn compare(first: &Directions, second: &Directions) -> Result<Common> {
    let out = cross(&first.out, &second.out, first.rows);
    let input = cross(&first.input, &second.input, first.cols);
    let (ranks, width) = ([first.rank(), second.rank()], second.rank());
    let mut inner = 0.0;
    for (i, a) in first.sigma.iter().enumerate() {
        for (j, b) in second.sigma.iter().enumerate() {
            inner += a * b * out[i * width + j] * input[i * width + j];
        }
    }
    let transposed = |matrix: &[f64]| -> Vec<f64> {
        (0..ranks[1]).flat_map(|j| (0..ranks[0]).map(move |i| matrix[i * width + j])).collect()
    };
    let within = [
        projected(&out, &first.sigma, &input, ranks[1]),
        projected(&transposed(&out), &second.sigma, &transposed(&input), ranks[0]),
    ];
    Ok(Common { inner, within, out: cosines(&out, ranks)?, input: cosines(&input, ranks)? })
}

/// Uᵀ·V of directions in rows of `len` entries.
fn cross(first: &[f32], second: &[f32], len: usize) -> Vec<f64> {
    let kernel = |a: &[f32], b: &[f32]| {
        let mut sums = [0.0_f32; 8];
        let (pairs_a, pairs_b) = (a.chunks_exact(8), b.chunks_exact(8));
        let rest: f32 = pairs_a.remainder().iter().zip(pairs_b.remainder()).map(|(a, b)| a * b).sum();
        for (a, b) in pairs_a.zip(pairs_b) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        f64::from(sums.iter().sum::<f32>() + rest)
    };
    let len = len.max(1);
    first.chunks_exact(len).flat_map(|a| second.chunks_exact(len).map(move |b| kernel(a, b))).collect()
}

/// ‖Uᵀ·diag(σ)·V‖²_F for U and V of a row for each σ and `width` columns.
fn projected(u: &[f64], sigma: &[f64], v: &[f64], width: usize) -> f64 {
    let mut sum = 0.0;
    let mut row = vec![0.0; width];
    for k in 0..width {
        row.fill(0.0);
        for (i, sigma) in sigma.iter().enumerate() {
            let factor = u[i * width + k] * sigma;
            for (to, v) in row.iter_mut().zip(&v[i * width..][..width]) {
                *to += factor * v;
            }
        }
        sum += row.iter().map(|x| x * x).sum::<f64>();
    }
    sum
}

/// The singular values of a matrix of cosines, at most 1.
fn cosines(matrix: &[f64], [rows, cols]: [usize; 2]) -> Result<Vec<f32>> {
    let (long, short) = (rows.max(cols), rows.min(cols));
    let mut columns = filled(0.0_f32, long * short)?;
    for (i, row) in matrix.chunks_exact(cols.max(1)).enumerate() {
        for (j, &value) in row.iter().enumerate() {
            let at = if rows >= cols { j * long + i } else { i * long + j };
            columns[at] = value as f32;
        }
    }
    let mut sigma = filled(0.0_f32, short)?;
    let found = jacobi_svd(Kernel::detect(), long, &mut columns, &mut sigma, None, Sweeps::default());
    let scale = found.map_err(|e| Error::usage(e.to_string()))?.scale;
    Ok(sigma.into_iter().map(|cosine| (cosine * scale).min(1.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directions along axes: `out[i]` and `input[i]` of a matrix 6 × 4.
    fn axes(out: &[usize], input: &[usize], sigma: &[f32]) -> Directions {
        let held = sigma.len();
        let (mut a, mut b) = (vec![0.0; held * 4], vec![0.0; 6 * held]);
        for (k, sigma) in sigma.iter().enumerate() {
            a[k * 4 + input[k]] = sigma.sqrt();
            b[out[k] * held + k] = sigma.sqrt();
        }
        Directions::new(&a, &b, sigma, [6, 4])
    }

    #[test]
    fn what_is_shared_is_found_and_what_is_not_is_not() {
        let first = axes(&[0, 1, 2], &[0, 1, 2], &[3.0, 2.0, 1.0]);
        let same = compare(&first, &first).unwrap();
        assert!((same.inner - 14.0).abs() < 1e-5 && (same.within[0] - 14.0).abs() < 1e-5, "{same:?}");
        assert!(same.out.iter().chain(&same.input).all(|cosine| (cosine - 1.0).abs() < 1e-6));
        // It writes along one common axis, and reads what the other reads there.
        let second = axes(&[1, 3], &[1, 3], &[5.0, 1.0]);
        let found = compare(&first, &second).unwrap();
        assert!((found.inner - 10.0).abs() < 1e-5, "{found:?}");
        assert!((found.within[0] - 4.0).abs() < 1e-5 && (found.within[1] - 25.0).abs() < 1e-4, "{found:?}");
        assert_eq!((found.out, found.input), (vec![1.0, 0.0], vec![1.0, 0.0]));
        // It writes what the other does but reads something else: no product in common.
        let third = axes(&[0], &[3], &[1.0]);
        let found = compare(&first, &third).unwrap();
        assert_eq!(
            (found.inner, found.within, found.out, found.input),
            (0.0, [0.0; 2], vec![1.0], vec![0.0])
        );
    }

    #[test]
    fn directions_at_the_level_of_rounding_do_not_count() {
        assert_eq!(axes(&[0, 1], &[0, 1], &[1.0, 1e-6]).rank(), 1);
    }
}
