//! Which rank a matrix gets: policies over singular values alone, without any data.
//!
//! [`Goal`] says what is asked for, [`Policy`] what the ranks must look like besides. A [`Spectrum`] answers
//! for one matrix; [`allocate`] and [`uniform_rank`] divide bytes among many, up to a [`Limit`], and [`allocate_best`] takes
//! the better of the two.
//!
//! ```
//! use phlora_core::policy::{Allocation, Candidate, Criterion, Goal, Limit, Policy, Spectrum, allocate, factor_bytes};
//! use phlora_core::{Dtype, Shape};
//!
//! fn spectrum(singular_values: &[f32]) -> Spectrum<'_> {
//!     let sum_squares = singular_values.iter().map(|&s| f64::from(s).powi(2)).sum();
//!     Spectrum { singular_values, sum_squares, shape: Shape { rows: 64, cols: 64 } }
//! }
//!
//! let [even, steep] = [[2.0, 1.9, 1.8, 1.7], [3.0, 0.3, 0.2, 0.1]];
//! assert_eq!(Goal::Energy(0.95).rank(&spectrum(&steep), 4), 1);
//!
//! let candidates = [&even, &steep]
//!     .map(|values| Candidate { spectrum: spectrum(values), stretch: 0.0, apart: false, dtype: Dtype::F16 });
//! let bytes = 2 * factor_bytes(spectrum(&even).shape, 2, Dtype::F16);
//! let mut allocated = [Allocation::default(); 2];
//! allocate(&candidates, &Policy { by: Criterion::Energy, ..Policy::fixed(4) }, Limit::Bytes(bytes), &mut allocated);
//! assert_eq!(allocated.map(|one| one.rank), [3, 1]);
//! ```

mod allocate;
mod bits;
mod criterion;
mod spectrum;
mod totals;

pub use allocate::{Allocation, Candidate, allocate, factor_bytes, factor_dtype, uniform_rank};
pub use bits::{Direction, Quantizer, allocate_bits};
pub use criterion::Criterion;
pub use spectrum::{Noise, Spectrum};
pub use totals::{Totals, allocate_best};

use crate::Shape;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Goal {
    /// The rank that is given.
    #[default]
    Fixed,
    /// Per matrix the smallest rank that keeps this share of ‖Δ‖²_F, from 0 to 1.
    Energy(f64),
    /// Per matrix the directions that stand out of its noise; see [`Spectrum::noise`].
    NoiseFloor,
    /// Over all matrices as few bytes as keep this share of their ‖Δ‖²_F together, from 0 to 1, taken in the order of a
    /// budget. A matrix alone gets the rank that is given.
    TotalEnergy(f64),
    /// The most over all matrices, by the policy's criterion, in so many bytes. A matrix alone gets the rank that is given.
    Budget(u64),
}

/// Where dividing bytes among matrices ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// As long as there are bytes: the factors take at most so many.
    Bytes(u64),
    /// As far as is needed: until all matrices together keep this share of their ‖Δ‖²_F, from 0 to 1.
    Energy(f64),
}

/// A goal and the form that ranks must have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// What is asked for.
    pub goal: Goal,
    /// No rank is above this; the rank itself where the goal is [`Goal::Fixed`].
    pub max_rank: usize,
    /// Ranks are multiples of this; at least 1.
    pub multiple: usize,
    /// Ranks that may be used, ascending; empty: all.
    pub allowed: &'static [usize],
    /// Every matrix has the same rank.
    pub uniform: bool,
    /// What the most of is to be kept where bytes are divided among matrices.
    pub by: Criterion,
}

impl Default for Policy {
    /// Rank 32 for all.
    fn default() -> Self {
        Self::fixed(32)
    }
}

impl Policy {
    /// One rank for all.
    pub const fn fixed(rank: usize) -> Self {
        Self {
            goal: Goal::Fixed,
            max_rank: rank,
            multiple: 1,
            allowed: &[],
            uniform: true,
            by: Criterion::Relative,
        }
    }

    /// What a matrix of `shape` gets of one rank for all: no more than it is wide, unless all ranks are to be the same.
    pub fn even_rank(&self, shape: Shape, rank: usize) -> usize {
        if self.uniform { rank } else { rank.min(shape.rows).min(shape.cols) }
    }

    /// The smallest rank from `rank` on that this policy allows, or the largest that it allows where there is none. 0 for 0,
    /// and where it allows no rank.
    pub fn round(&self, rank: usize) -> usize {
        let multiple = self.multiple.max(1);
        if rank == 0 {
            return 0;
        }
        if self.allowed.is_empty() {
            let up = rank.div_ceil(multiple).saturating_mul(multiple);
            return if up <= self.max_rank { up } else { self.max_rank / multiple * multiple };
        }
        let fits = |allowed: &&usize| **allowed <= self.max_rank && allowed.is_multiple_of(multiple);
        let mut best = 0;
        for &allowed in self.allowed.iter().filter(fits) {
            best = allowed;
            if best >= rank {
                break;
            }
        }
        best
    }
}

impl Goal {
    /// How far to divide bytes among many matrices; `None` where each is chosen for by itself.
    pub fn limit(self) -> Option<Limit> {
        match self {
            Self::Budget(bytes) => Some(Limit::Bytes(bytes)),
            Self::TotalEnergy(share) => Some(Limit::Energy(share)),
            Self::Fixed | Self::Energy(_) | Self::NoiseFloor => None,
        }
    }

    /// The rank, at most `max_rank`, that this goal gives a matrix with `spectrum`; 0 where it has no
    /// direction that is worth one.
    pub fn rank(self, spectrum: &Spectrum<'_>, max_rank: usize) -> usize {
        match self {
            Self::Fixed | Self::Budget(_) | Self::TotalEnergy(_) => max_rank,
            Self::Energy(share) => spectrum.rank_for(share).unwrap_or(max_rank).min(max_rank),
            Self::NoiseFloor => spectrum.noise().rank.min(max_rank),
        }
    }

    /// Whether the rank does not depend on the spectrum.
    pub(crate) const fn is_fixed(self) -> bool {
        matches!(self, Self::Fixed | Self::Budget(_) | Self::TotalEnergy(_))
    }
}
