//! Measurements of the difference T − B from one read, the same in every mode.

/// Measurements of a difference Δ = tuned − base over every entry, those that are not finite left out.
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

impl Delta {
    /// Adds the measurements of rows that come later.
    pub fn merge(&mut self, later: &Self) {
        self.sum_squares += later.sum_squares;
        self.max_abs = self.max_abs.max(later.max_abs);
        self.non_finite += later.non_finite;
        self.first_non_finite_row = self.first_non_finite_row.or(later.first_non_finite_row);
    }
}
