//! Which rank's energy decides whether to go on reading, and how well it must be known, for each goal.

use crate::{Goal, Spectrum};

/// What a goal wants to know of the space so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Watch {
    /// Nothing yet: the space is too small.
    Larger,
    /// Nothing more: further reads cannot matter.
    Enough,
    /// Whether further reads add more than `allowed` of the energy that `rank` keeps.
    Rank {
        /// The rank to watch.
        rank: usize,
        /// Share of what it keeps.
        allowed: f64,
    },
}

/// Expected gains are trusted to half of what is allowed.
const TRUST: f64 = 0.5;

/// A direction close to the noise floor is told from it to this share of the tolerance, no better.
const FINEST: f64 = 0.05;

impl Watch {
    /// `spectrum` holds the leading singular values of the space, at most `max_rank` of them; the whole
    /// space captures `captured` of its norm.
    pub fn new(goal: Goal, spectrum: &Spectrum<'_>, captured: f64, max_rank: usize, tolerance: f64) -> Self {
        let known = spectrum.singular_values.len();
        match goal {
            Goal::Fixed | Goal::Budget(_) | Goal::TotalEnergy(_) if known < max_rank => Self::Larger,
            Goal::Fixed | Goal::Budget(_) | Goal::TotalEnergy(_) => {
                Self::Rank { rank: max_rank, allowed: tolerance }
            }
            Goal::Energy(share) => energy(share, spectrum, captured, max_rank, tolerance),
            Goal::NoiseFloor => noise(spectrum, max_rank, tolerance),
        }
    }

    /// How many times as much as is allowed further reads would add, 1 or less being enough to stop; `remaining` tells what
    /// they would add to the energy of a rank, as a share of it.
    pub fn excess(self, remaining: impl FnOnce(usize) -> f64) -> f64 {
        match self {
            Self::Larger => f64::INFINITY,
            Self::Enough => 0.0,
            Self::Rank { rank, allowed } => {
                let remaining = remaining(rank);
                if remaining <= allowed { 1.0 } else { remaining / allowed }
            }
        }
    }
}

/// Stops where the share is met at a rank that further reads can lower by at most one.
fn energy(share: f64, spectrum: &Spectrum<'_>, captured: f64, max_rank: usize, tolerance: f64) -> Watch {
    let wanted = share * spectrum.sum_squares;
    let allowed = |rank: usize| {
        let kept = spectrum.kept(rank);
        TRUST * (wanted - kept).max(0.0) / kept
    };
    match spectrum.rank_for(share) {
        None if spectrum.singular_values.len() < max_rank => Watch::Larger,
        // It may be out of reach: that must be sure, and then the usual tolerance holds.
        None => Watch::Rank { rank: max_rank, allowed: tolerance.min(allowed(max_rank)) },
        Some(0..=2) => Watch::Enough,
        Some(rank) => {
            // A rank two below must stay short of the share. What the space does not capture is all that
            // it can gain.
            let rank = rank - 2;
            let sure = spectrum.kept(rank) + (spectrum.sum_squares - captured) < wanted;
            if sure { Watch::Enough } else { Watch::Rank { rank, allowed: allowed(rank) } }
        }
    }
}

/// Stops where the first direction below the floor is expected to stay there.
fn noise(spectrum: &Spectrum<'_>, max_rank: usize, tolerance: f64) -> Watch {
    let noise = spectrum.noise();
    let rank = (noise.rank + 1).min(max_rank);
    let Some(&below) = spectrum.singular_values.get(rank - 1) else { return Watch::Larger };
    let below = f64::from(below);
    let distance = TRUST * (noise.floor * noise.floor - below * below) / spectrum.kept(rank);
    let allowed = if distance > FINEST * tolerance { distance } else { FINEST * tolerance };
    Watch::Rank { rank, allowed: allowed.min(tolerance) }
}
