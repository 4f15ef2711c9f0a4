//! Ranks of a policy beside one rank for all: which of the two to take.

use super::{Allocation, Candidate, Criterion, Limit, Policy, allocate, uniform_rank};

/// Totals over all matrices of one choice of ranks, to be compared with those of other choices in the same bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// What the kept directions of all matrices are worth together.
    pub worth: f64,
    /// The share of Σσ² over all matrices that is not kept, from 0 to 1.
    pub lost: f64,
    /// Whether all matrices have the same rank.
    pub even: bool,
}

/// The most of Σσ² that a choice of ranks may lose, as a multiple of what one rank for all loses. On the pairs of models that
/// were measured, ranks by [`Criterion::Relative`] that lost up to 1.02 times as much made better models. Those that lost
/// 1.09 to 1.17 times as much made worse models, or the difference was noise.
const MOST_LOST: f64 = 1.05;

impl Totals {
    /// The totals of `ranks` of `candidates`, as far as their singular values are known.
    pub fn of(
        candidates: &[Candidate<'_>],
        by: Criterion,
        ranks: impl IntoIterator<Item = usize>,
        even: bool,
    ) -> Self {
        let (mut worth, mut kept) = (0.0, 0.0);
        for (one, rank) in candidates.iter().zip(ranks) {
            let known = rank.min(one.spectrum.singular_values.len());
            worth += (0..known).map(|at| one.worth(by, at)).sum::<f64>();
            kept += one.spectrum.kept(known);
        }
        let all: f64 = candidates.iter().map(|one| one.spectrum.sum_squares).sum();
        Self { worth, lost: if all > 0.0 { 1.0 - kept / all } else { 0.0 }, even }
    }
}

impl Criterion {
    /// Which of `totals` to take; `None` where there are none.
    ///
    /// That which is worth the most. By [`Self::Relative`] only among those that lose at most a twentieth more of Σσ² than
    /// one rank for all: what is worth more is a guess about the model, and it does not outweigh a change that is lost.
    pub fn best(self, totals: &[Totals]) -> Option<usize> {
        let even = totals.iter().filter(|one| one.even).map(|one| one.lost);
        let most = match self {
            Self::Relative => even.reduce(f64::min).map_or(f64::INFINITY, |lost| MOST_LOST * lost),
            Self::Energy => f64::INFINITY,
        };
        let allowed = totals.iter().enumerate().filter(|(_, one)| one.lost <= most);
        // The first of equals.
        allowed.reduce(|best, one| if one.1.worth > best.1.worth { one } else { best }).map(|(at, _)| at)
    }
}

/// As [`allocate`], but all of `candidates` get one rank, as far as it is known, where the policy asks for it or
/// [`Criterion::best`] takes it instead: beside the ranks of [`allocate`] stands the largest rank for all in the same bytes.
/// Narrower matrices get no more than they are wide, unless the policy asks for one rank.
///
/// Returns the rank where it is one for all.
pub fn allocate_best(
    candidates: &[Candidate<'_>],
    policy: &Policy,
    limit: Limit,
    allocated: &mut [Allocation],
) -> Option<usize> {
    let most = policy.known_rank(candidates);
    if !policy.uniform {
        let used = allocate(candidates, policy, limit, allocated);
        let bytes = if let Limit::Bytes(bytes) = limit { bytes } else { used };
        let rank = uniform_rank(candidates, policy, most, Limit::Bytes(bytes));
        let found = Totals::of(candidates, policy.by, allocated.iter().map(|one| one.rank), false);
        let even = Totals::of(candidates, policy.by, candidates.iter().map(|_| rank), true);
        if rank == 0 || policy.by.best(&[found, even]) == Some(0) {
            return None;
        }
    }
    let rank = uniform_rank(candidates, policy, most, limit);
    for (given, one) in allocated.iter_mut().zip(candidates) {
        *given = Allocation { rank: policy.even_rank(one.spectrum.shape, rank), next: None };
    }
    Some(rank)
}
