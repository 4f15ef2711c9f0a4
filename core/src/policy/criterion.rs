//! What a direction of a difference is worth beside those of others.

use super::Spectrum;

/// What is to be kept as much as possible of, where bytes are divided among matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Criterion {
    /// What changes a matrix the most for its size: direction i is worth σᵢ²/(i·σ₁·‖W‖₂), multiplied by rows + cols.
    ///
    /// A model needs the changes of all its matrices, also of those with small weights, and the first directions of each the
    /// most. By energy matrices with small weights get nothing. Of the rules that were tried on models this one came out
    /// best (docs/quality.md of the repository).
    #[default]
    Relative,
    /// Σσ² over all matrices.
    Energy,
}

impl Criterion {
    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relative => "relative",
            Self::Energy => "energy",
        }
    }

    /// What direction `at` of a difference, counted from 0, is worth. `stretch` is ‖W‖₂ of the matrix that it changes; where
    /// that is not above 0, ‖Δ‖₂ stands for it.
    pub fn worth(self, difference: &Spectrum<'_>, stretch: f64, at: usize) -> f64 {
        let sigma = |at: usize| difference.singular_values.get(at).map_or(0.0, |&sigma| f64::from(sigma));
        let square = sigma(at) * sigma(at);
        if self == Self::Energy {
            return square;
        }
        let room = difference.shape.rows as f64 + difference.shape.cols as f64;
        let whole = sigma(0) * if stretch > 0.0 { stretch } else { sigma(0) };
        if whole > 0.0 { room * square / ((at + 1) as f64 * whole) } else { 0.0 }
    }
}
