//! Bytes divided among matrices: each step goes where it is worth the most per byte.

use super::{Criterion, Limit, Policy, Spectrum};
use crate::{Dtype, Shape};

/// One matrix that asks for a rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'s> {
    /// Its leading singular values, norm and shape (rows = out, cols = in); it gets no rank beyond the known values.
    pub spectrum: Spectrum<'s>,
    /// ‖W‖₂ of the matrix that it changes. 0 where that is not known: ‖Δ‖₂ stands for it then.
    pub stretch: f64,
    /// Whether what its directions are worth cannot be compared with those of the others: of an output head, whose change
    /// reaches the logits through no other layer and no norm, and of a lookup table. By [`Criterion::Relative`] it gets the
    /// rank that one rank for all would give it.
    pub apart: bool,
    /// Format that its factors are stored in; see [`factor_dtype`].
    pub dtype: Dtype,
}

/// What a matrix gets, and the workspace of [`allocate`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Allocation {
    /// The rank; 0 where the bytes are better spent elsewhere.
    pub rank: usize,
    pub(super) next: Option<Step>,
}

/// From a rank to a higher one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    rank: usize,
    bytes: i64,
    gain_per_byte: f64,
}

/// The format of a factor whose rows have `len` entries: `dtype`, or f16 where its blocks do not fit.
pub fn factor_dtype(dtype: Dtype, len: usize) -> Dtype {
    if dtype.row_bytes(len).is_some() { dtype } else { Dtype::F16 }
}

/// Bytes of both factors of a matrix at `rank`: rank rows of lora_a, `rows` rows of lora_b.
pub fn factor_bytes(shape: Shape, rank: usize, dtype: Dtype) -> u64 {
    if rank == 0 {
        return 0;
    }
    let row = |len: usize| factor_dtype(dtype, len).row_bytes(len).map_or(u64::MAX, |bytes| bytes as u64);
    let (a, b) = (row(shape.cols).saturating_mul(rank as u64), row(rank).saturating_mul(shape.rows as u64));
    a.saturating_add(b)
}

/// Gives each of `candidates` a rank that `policy` allows, so that their factors keep to `limit` and are worth as much as
/// possible by the policy's criterion: the step that is worth the most per byte comes first, whichever matrix it belongs to.
/// Where bytes grow with the rank alone, steps are single directions and nothing better exists except in the use of the
/// last bytes; where a format's blocks make some ranks cheap, a step leads to the rank that pays best. Those that stand
/// [`apart`](Candidate::apart) come before, at the nearest rank for all. `allocated` has an element per candidate.
///
/// Returns the bytes used. A smaller step fills what a larger one leaves. Where the known
/// singular values do not hold the share that [`Limit::Energy`] asks for, all of them are taken.
pub fn allocate(
    candidates: &[Candidate<'_>],
    policy: &Policy,
    limit: Limit,
    allocated: &mut [Allocation],
) -> u64 {
    let mut left = limit.bytes();
    let mut missing = limit.squares(candidates);
    let whole = left;
    let apart = |one: &Candidate<'_>| one.apart && policy.by == Criterion::Relative;
    let even = if candidates.iter().any(apart) { rank_apart(candidates, policy, limit) } else { 0 };
    for (given, one) in allocated.iter_mut().zip(candidates) {
        let rank = if apart(one) { one.most(even) } else { 0 };
        let bytes = i64::try_from(factor_bytes(one.spectrum.shape, rank, one.dtype));
        left = left.saturating_sub(bytes.unwrap_or(i64::MAX));
        missing -= one.spectrum.kept(rank);
        *given = Allocation { rank, next: None };
    }
    for (given, one) in allocated.iter_mut().zip(candidates).filter(|(_, one)| !apart(one)) {
        given.next = one.step(0, policy, left);
    }
    while missing > 0.0 {
        let mut best = None::<(usize, f64)>;
        for (i, given) in allocated.iter().enumerate().take(candidates.len()) {
            if let Some(step) = given.next
                && best.is_none_or(|(_, gain)| step.gain_per_byte > gain)
            {
                best = Some((i, step.gain_per_byte));
            }
        }
        let Some((i, _)) = best else { break };
        let Some(step) = allocated[i].next else { break };
        if step.bytes <= left {
            left -= step.bytes;
            let kept = |rank| candidates[i].spectrum.kept(rank);
            missing -= kept(step.rank) - kept(allocated[i].rank);
            allocated[i].rank = step.rank;
        }
        // Where the best step is too dear by now, a smaller one may do.
        allocated[i].next = candidates[i].step(allocated[i].rank, policy, left);
    }
    whole.saturating_sub(left).unsigned_abs()
}

/// The rank of matrices that stand apart: that of one rank for all, as far as singular values are known, or the next one where
/// half of it fits, and those matrices do: names take some bytes more where ranks differ.
fn rank_apart(candidates: &[Candidate<'_>], policy: &Policy, limit: Limit) -> usize {
    let most = policy.known_rank(candidates);
    let rank_for = |limit| uniform_rank(candidates, policy, most, limit);
    let Limit::Bytes(bytes) = limit else { return rank_for(limit) };
    let per_rank = |one: &Candidate<'_>| {
        let block = one.dtype.block_len();
        factor_bytes(one.spectrum.shape, block, one.dtype) / block as u64
    };
    let half = candidates.iter().map(per_rank).fold(0, u64::saturating_add) / 2;
    let rank = rank_for(Limit::Bytes(bytes.saturating_add(half)));
    let size = |one: &Candidate<'_>| factor_bytes(one.spectrum.shape, one.most(rank), one.dtype);
    let apart = candidates.iter().filter(|one| one.apart).map(size).fold(0, u64::saturating_add);
    if apart <= bytes { rank } else { rank_for(limit) }
}

/// The rank up to `max_rank` that `policy` allows and that all of `candidates` get: the largest whose factors fit into the
/// bytes, or the smallest that keeps the share that is asked for, else the largest. Narrower matrices count as
/// [`Policy::even_rank`] says. 0 where none fits.
pub fn uniform_rank(candidates: &[Candidate<'_>], policy: &Policy, max_rank: usize, limit: Limit) -> usize {
    let (left, wanted) = (limit.bytes().unsigned_abs(), limit.squares(candidates));
    let mut best = 0;
    for rank in (1..=max_rank).filter(|&rank| policy.round(rank) == rank) {
        // Not monotone where a format has blocks: all are tried.
        let of = |one: &Candidate<'_>| {
            let shape = one.spectrum.shape;
            factor_bytes(shape, policy.even_rank(shape, rank), one.dtype)
        };
        let bytes = candidates.iter().map(of).fold(0, u64::saturating_add);
        if bytes <= left {
            best = rank;
        }
        let kept: f64 = candidates.iter().map(|one| one.spectrum.kept(rank)).sum();
        if kept >= wanted {
            break;
        }
    }
    best
}

impl Limit {
    /// Most bytes.
    fn bytes(self) -> i64 {
        match self {
            Self::Bytes(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
            Self::Energy(_) => i64::MAX,
        }
    }

    /// Σσ² to keep.
    fn squares(self, candidates: &[Candidate<'_>]) -> f64 {
        match self {
            Self::Bytes(_) => f64::INFINITY,
            Self::Energy(share) => candidates.iter().map(|one| one.spectrum.wanted(share)).sum(),
        }
    }
}

impl Policy {
    /// The largest rank that it allows and that is known of any of `candidates`.
    pub fn known_rank(&self, candidates: &[Candidate<'_>]) -> usize {
        let known = candidates.iter().map(|one| one.spectrum.singular_values.len());
        known.max().unwrap_or(0).min(self.max_rank)
    }
}

impl Candidate<'_> {
    /// What its direction `at`, counted from 0, is worth.
    pub fn worth(&self, by: Criterion, at: usize) -> f64 {
        by.worth(&self.spectrum, self.stretch, at)
    }

    /// `rank`, or the largest that is known where that is less.
    fn most(&self, rank: usize) -> usize {
        let Spectrum { singular_values, shape, .. } = self.spectrum;
        rank.min(singular_values.len()).min(shape.rows).min(shape.cols)
    }

    /// The step upwards from `rank` that is worth the most per byte within `left` bytes.
    fn step(&self, rank: usize, policy: &Policy, left: i64) -> Option<Step> {
        let (shape, most) = (self.spectrum.shape, self.most(usize::MAX));
        let bytes_at = |rank| i64::try_from(factor_bytes(shape, rank, self.dtype)).unwrap_or(i64::MAX);
        let before = bytes_at(rank);
        let (mut best, mut gain) = (None::<Step>, 0.0);
        for at in rank..most {
            gain += self.worth(policy.by, at);
            let to = at + 1;
            if gain <= 0.0 || policy.round(to) != to {
                continue;
            }
            let bytes = bytes_at(to).saturating_sub(before);
            let gain_per_byte = if bytes > 0 { gain / bytes as f64 } else { f64::INFINITY };
            if bytes <= left && best.is_none_or(|best| gain_per_byte > best.gain_per_byte) {
                best = Some(Step { rank: to, bytes, gain_per_byte });
            }
        }
        best
    }
}
