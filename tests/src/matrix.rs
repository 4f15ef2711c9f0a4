//! Generated matrices and the f64 reference decomposition.

use nalgebra::DMatrix;

/// A fixed sequence of normal deviates; the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Normal(u64);

impl Normal {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        // Xorshift64*: Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number below `end`.
    pub fn below(&mut self, end: u32) -> usize {
        (0..end).rev().find(|&i| self.uniform() * f64::from(i + 1) < 1.0).unwrap_or(0) as usize
    }

    /// The next deviate.
    pub fn draw(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (core::f64::consts::TAU * v).cos()
    }

    /// A matrix of deviates.
    pub fn matrix(&mut self, rows: usize, cols: usize) -> DMatrix<f64> {
        DMatrix::from_fn(rows, cols, |_, _| self.draw())
    }
}

/// A matrix of `rows` × `cols` with the singular values `sigma(i)`, i from 0, and random directions.
pub fn with_spectrum(rows: usize, cols: usize, seed: u64, sigma: impl Fn(usize) -> f64) -> DMatrix<f64> {
    let narrow = rows.min(cols);
    let mut normal = Normal::new(seed);
    let mut u = normal.matrix(rows, narrow).qr().q();
    let v = normal.matrix(cols, narrow).qr().q();
    for (i, mut column) in u.column_iter_mut().enumerate() {
        column *= sigma(i);
    }
    u * v.transpose()
}

/// Singular values in descending order, in f64.
pub fn singular_values(matrix: &DMatrix<f64>) -> Vec<f64> {
    let mut values: Vec<f64> = matrix.clone().svd(false, false).singular_values.iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// The largest energy that a matrix of rank `rank` can keep: Eckart–Young.
pub fn best_energy(matrix: &DMatrix<f64>, rank: usize) -> f64 {
    singular_values(matrix).iter().take(rank).map(|s| s * s).sum::<f64>() / matrix.norm_squared()
}

/// Little-endian f32 bytes, row after row.
pub fn f32_bytes(matrix: &DMatrix<f64>) -> Vec<u8> {
    matrix.transpose().iter().flat_map(|&x| (x as f32).to_le_bytes()).collect()
}

/// A row-major f32 buffer as an f64 matrix.
pub fn from_rows(rows: usize, cols: usize, values: &[f32]) -> DMatrix<f64> {
    DMatrix::from_fn(rows, cols, |i, j| f64::from(values[i * cols + j]))
}

/// A buffer by columns as an f64 matrix.
pub fn from_columns(rows: usize, cols: usize, values: &[f32]) -> DMatrix<f64> {
    DMatrix::from_fn(rows, cols, |i, j| f64::from(values[j * rows + i]))
}
