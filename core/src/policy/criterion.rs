//! What a direction of a matrix is worth beside those of other matrices.

use super::Spectrum;

/// What bytes that several matrices share are to keep the most of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Criterion {
    /// The cosine between each Δ and what is kept of it, ⟨Δ, Δ_r⟩/(‖Δ‖·‖Δ_r‖), which is the square root of the kept share
    /// of ‖Δ‖²_F; each counts as much as a direction of it takes room.
    ///
    /// A model needs the changes of all its matrices, also of those with small weights, and each loses the least with its
    /// first directions. By energy alone matrices with small weights get nothing. This was measured on models.
    #[default]
    Cosine,
    /// Σσ² over all matrices.
    Energy,
}

impl Criterion {
    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Energy => "energy",
        }
    }

    /// What the first directions of a matrix are worth whose Σσ² is `kept`; grows with it.
    pub fn worth(self, spectrum: &Spectrum<'_>, kept: f64) -> f64 {
        match self {
            Self::Energy => kept,
            Self::Cosine if spectrum.sum_squares > 0.0 => {
                let room = spectrum.shape.rows as f64 + spectrum.shape.cols as f64;
                room * libm::sqrt(kept / spectrum.sum_squares)
            }
            Self::Cosine => 0.0,
        }
    }
}
