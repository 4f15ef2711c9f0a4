//! Result of an extraction.

use crate::Delta;

/// What was extracted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Rank of the factors.
    pub rank: usize,
    /// Measurements of the difference.
    pub delta: Delta,
    /// Σσ² over the kept singular values.
    pub kept: f64,
    /// Reads of the matrix.
    pub reads: u32,
    /// Multi-read: whether the tolerance was met. Exact: whether the sweeps converged. Stream-once:
    /// whether the decompositions did, as one or two reads are all that it takes.
    pub converged: bool,
    /// Sweeps of the one-sided Jacobi decomposition; 0 in the modes without one, which are all but exact.
    pub sweeps: u32,
}

impl Report {
    /// Kept energy Σσ²/‖Δ‖²_F, from 0 to 1; 1 where the difference is zero.
    pub fn energy(&self) -> f64 {
        if self.delta.sum_squares > 0.0 { (self.kept / self.delta.sum_squares).min(1.0) } else { 1.0 }
    }
}
