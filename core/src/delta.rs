//! What one read of the difference T − B tells about it, whatever the mode.

/// Measurements of a difference Δ = tuned − base, exact over every entry.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Delta {
    /// ‖Δ‖²_F, the sum of squared entries, summed in f64.
    pub sum_squares: f64,
    /// Largest |Δᵢⱼ|.
    pub max_abs: f32,
    /// Entries that are NaN or infinite.
    pub non_finite: u64,
    /// First row that holds such an entry.
    pub first_non_finite_row: Option<usize>,
}
