//! What a direction of a difference is worth beside those of others.

use super::Spectrum;

/// What bytes that several matrices share are to keep the most of.
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

/// What ranks for all matrices come to, beside other ranks in the same bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// What the kept directions of all matrices are worth together.
    pub worth: f64,
    /// The share of Σσ² over all matrices that is not kept, from 0 to 1.
    pub lost: f64,
    /// Whether all matrices have the same rank.
    pub even: bool,
}

/// How many times as much of Σσ² may be lost as by one rank for all. On the pairs of models that were measured, ranks by
/// [`Criterion::Relative`] that lost up to 1.02 times as much made better models, and those that lost 1.09 to 1.17 times
/// as much made worse ones or none that could be told apart.
const MOST_LOST: f64 = 1.05;

impl Criterion {
    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relative => "relative",
            Self::Energy => "energy",
        }
    }

    /// Which of `outcomes` to take; `None` where there are none.
    ///
    /// That which is worth the most. By [`Self::Relative`] only among those that lose at most a twentieth more of Σσ² than
    /// one rank for all: what is worth more is a guess about the model, and it does not outweigh a change that is lost.
    pub fn best(self, outcomes: &[Outcome]) -> Option<usize> {
        let even = outcomes.iter().filter(|one| one.even).map(|one| one.lost);
        let most = match self {
            Self::Relative => even.reduce(f64::min).map_or(f64::INFINITY, |lost| MOST_LOST * lost),
            Self::Energy => f64::INFINITY,
        };
        let allowed = outcomes.iter().enumerate().filter(|(_, one)| one.lost <= most);
        // The first of equals.
        allowed.reduce(|best, one| if one.1.worth > best.1.worth { one } else { best }).map(|(at, _)| at)
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
