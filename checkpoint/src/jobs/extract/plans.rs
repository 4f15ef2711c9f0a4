//! How each module will be extracted: parts from its shape alone, scratch within the limit per thread.

use crate::error::{Error, Result};
use crate::jobs::extract::memory_bound;
use crate::jobs::extract::options::ExtractOptions;
use crate::pairing::pairs::Pair;
use phlora_core::{Goal, Mode, Options, Plan, Policy, Shape};

/// A multi-read extraction takes about this many reads; only the progress estimate depends on it.
const TYPICAL_READS: u32 = 10;

/// A goal that may need any rank is first tried at this one.
const FIRST_RANK: usize = 64;

/// What a module is extracted for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Aim {
    pub(crate) goal: Goal,
    /// The largest rank that this extraction can give.
    pub(crate) rank: usize,
    /// The largest rank that may be tried where that is not enough.
    pub(crate) most: usize,
    /// The rank that the factors get, whatever the goal chooses.
    pub(crate) given: Option<usize>,
}

/// A module's plan and what follows from it.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) aim: Aim,
    /// Scratch, f32 factors and singular values, in elements.
    pub(crate) memory: usize,
    pub(crate) expected_reads: u32,
    /// Row ranges that threads may divide among them.
    pub(crate) parts: usize,
}

impl Aim {
    /// One rank, whatever the matrix holds.
    pub(crate) fn fixed(pair: &Pair<'_>, rank: usize) -> Self {
        let rank = rank.min(narrow(pair));
        Self { goal: Goal::Fixed, rank, most: rank, given: None }
    }

    /// What `policy` wants of one matrix.
    pub(crate) fn of(pair: &Pair<'_>, policy: &Policy) -> Self {
        let most = policy.max_rank.min(narrow(pair));
        let first = first_rank(pair, most);
        match policy.goal {
            Goal::Energy(_) | Goal::NoiseFloor => Self { goal: policy.goal, rank: first, most, given: None },
            Goal::Fixed | Goal::Budget(_) | Goal::TotalEnergy(_) => {
                Self::fixed(pair, policy.round(policy.max_rank))
            }
        }
    }

    /// A larger rank to try, where one is allowed: as many more as the smallest known of `squares`, σ²
    /// descending, would need to fill the gap `missing`, and some.
    pub(crate) fn larger(self, squares: impl DoubleEndedIterator<Item = f64>, missing: f64) -> Option<Self> {
        let smallest = squares.rev().find(|&square| square > 0.0).unwrap_or(missing);
        let more = 1.5 * (missing / smallest).clamp(0.0, 1e9);
        #[allow(clippy::cast_sign_loss)] // clamped above
        let wanted = self.rank.saturating_add(more as usize);
        let rank = wanted.clamp(self.rank.saturating_mul(2), self.rank.saturating_mul(8)).min(self.most);
        (rank > self.rank).then_some(Self { rank, ..self })
    }
}

/// The rank, at most `most`, at which a goal that may need any is first tried.
pub(crate) fn first_rank(pair: &Pair<'_>, most: usize) -> usize {
    // Where it is nearly the whole anyway, all can be known at once.
    if narrow(pair) <= 3 * FIRST_RANK { most } else { FIRST_RANK.min(most) }
}

fn narrow(pair: &Pair<'_>) -> usize {
    let (rows, cols) = pair.stored_shape();
    rows.min(cols)
}

/// Row ranges of a pass. The factors depend on it, so it must follow from the shape alone.
fn parts(pair: &Pair<'_>) -> usize {
    let (rows, cols) = pair.stored_shape();
    match (rows, cols) {
        _ if rows < 64 || rows.saturating_mul(cols) < 1 << 20 => 1,
        // Each costs two panels of this width.
        (_, 8193..) => 2,
        _ => 4,
    }
}

/// Why a pair cannot be planned.
pub(crate) enum Refused {
    /// It needs at least so many bytes per thread.
    Scratch(usize),
    Other(Error),
}

/// Plans every pair that has an aim; the others get `None`.
pub(crate) fn plans<'p>(
    aims: impl Iterator<Item = (&'p Pair<'p>, Option<Aim>)>,
    options: &ExtractOptions,
) -> Result<Vec<Option<Planned>>> {
    let mut plans = Vec::new();
    let mut worst = None::<(usize, &Pair<'_>, usize)>;
    for (pair, aim) in aims {
        let Some(aim) = aim else {
            plans.push(None);
            continue;
        };
        match plan(pair, aim, options) {
            Ok(planned) => plans.push(Some(planned)),
            Err(Refused::Other(error)) => return Err(error),
            // The limit that does for all is the one to name.
            Err(Refused::Scratch(least)) => {
                if worst.is_none_or(|(most, _, _)| most < least) {
                    worst = Some((least, pair, aim.rank));
                }
            }
        }
    }
    worst.map_or(Ok(plans), |(least, pair, rank)| {
        Err(Error::usage(format!(
            "{} is too small: {} of shape {:?} needs at least {least} bytes per thread at rank {rank}",
            memory_bound::name_of_scratch(options),
            pair.name,
            pair.base.shape(),
        )))
    })
}

/// Plans the extraction of one pair for `aim`.
pub(crate) fn plan(
    pair: &Pair<'_>,
    aim: Aim,
    options: &ExtractOptions,
) -> std::result::Result<Planned, Refused> {
    let (rows, cols) = pair.stored_shape();
    let too_large = || Refused::Other(pair.base.error("it is too large for this machine's address range"));
    // The factors, and all singular values that there are.
    let factors = rows.checked_add(cols).and_then(|n| n.checked_mul(aim.rank)?.checked_add(rows.min(cols)));
    let factors = factors.ok_or_else(too_large)?;
    let limit = memory_bound::scratch(options)
        .map_or(usize::MAX, |bytes| (bytes / size_of::<f32>()).saturating_sub(factors));
    let mut core = Options {
        rank: aim.rank,
        goal: aim.goal,
        mode: options.mode,
        tolerance: options.tolerance,
        max_reads: options.max_reads,
        max_scratch: limit,
        parts: parts(pair),
        ..Options::default()
    };
    let shape = Shape { rows, cols };
    let plan = Plan::new(shape, &core).or_else(|_| {
        // A part costs scratch: one is the least that is possible.
        core.parts = 1;
        Plan::new(shape, &core)
    });
    let plan = plan.map_err(|error| match error {
        phlora_core::Error::ScratchTooSmall { needed } => {
            Refused::Scratch(needed.saturating_add(factors).saturating_mul(size_of::<f32>()))
        }
        phlora_core::Error::TooFewReads { needed } => {
            Refused::Other(Error::usage(format!("{}: this mode needs at least {needed} reads", pair.name)))
        }
        other => Refused::Other(pair.base.error(other.to_string())),
    })?;
    let memory = plan.scratch_len().checked_add(factors).ok_or_else(too_large)?;
    let multi_read = plan.mode() == Mode::MultiRead;
    let expected_reads = match plan.mode() {
        Mode::MultiRead => plan.max_reads().min(TYPICAL_READS),
        Mode::StreamOnce => plan.max_reads(),
        _ => 1,
    };
    Ok(Planned { plan, aim, memory, expected_reads, parts: if multi_read { core.parts } else { 1 } })
}

/// Elements that the extraction of one pair takes at most, where a goal that was not reached is tried again at larger ranks.
pub(crate) fn most_memory(pair: &Pair<'_>, planned: &Planned, options: &ExtractOptions) -> usize {
    if planned.aim.rank >= planned.aim.most {
        return planned.memory;
    }
    let widest = Aim { rank: planned.aim.most, ..planned.aim };
    let widest = plan(pair, widest, options).map_or_else(
        |_| memory_bound::scratch(options).map_or(usize::MAX, |bytes| bytes / size_of::<f32>()),
        |widest| widest.memory,
    );
    planned.memory.max(widest)
}

/// Bytes of `reads` reads of both sides.
pub(crate) fn read_bytes(pair: &Pair<'_>, reads: u32) -> u64 {
    pair.bytes() as u64 * u64::from(reads)
}
