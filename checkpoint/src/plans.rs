//! How each module will be extracted: parts from its shape alone, scratch within the limit per thread.

use crate::error::{Error, Result};
use crate::options::ExtractOptions;
use crate::pairs::{Pair, Task};
use phlora_core::{Mode, Options, Plan, Shape};

/// A multi-read extraction takes about this many reads; only the progress estimate depends on it.
const TYPICAL_READS: u32 = 10;

/// A module's plan and what follows from it.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// Scratch and f32 factors, in elements.
    pub(crate) memory: usize,
    pub(crate) expected_reads: u32,
    /// Row ranges that threads may share.
    pub(crate) parts: usize,
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
enum Refused {
    /// It needs at least so many bytes per thread.
    Scratch(usize),
    Other(Error),
}

/// Plans every pair that is to be extracted; the others get `None`.
pub(crate) fn plans(jobs: &[(Pair<'_>, Task)], options: &ExtractOptions) -> Result<Vec<Option<Planned>>> {
    let mut plans = Vec::with_capacity(jobs.len());
    let mut worst = None::<(usize, &Pair<'_>)>;
    for (pair, task) in jobs {
        if !matches!(task, Task::Extract) {
            plans.push(None);
            continue;
        }
        match plan(pair, options) {
            Ok(planned) => plans.push(Some(planned)),
            Err(Refused::Other(error)) => return Err(error),
            // The limit that does for all is the one to name.
            Err(Refused::Scratch(least)) => {
                if worst.is_none_or(|(most, _)| most < least) {
                    worst = Some((least, pair));
                }
            }
        }
    }
    worst.map_or(Ok(plans), |(least, pair)| {
        Err(Error::Usage(format!(
            "the scratch limit is too small: {} of shape {:?} needs at least {least} bytes per thread at rank {}",
            pair.name,
            pair.base.shape(),
            options.rank
        )))
    })
}

fn plan(pair: &Pair<'_>, options: &ExtractOptions) -> std::result::Result<Planned, Refused> {
    let (rows, cols) = pair.stored_shape();
    let rank = options.rank.min(rows).min(cols);
    let too_large = || Refused::Other(pair.base.error("it is too large for this machine's address range"));
    let factors = rows.checked_add(cols).and_then(|n| n.checked_add(1)?.checked_mul(rank));
    let factors = factors.ok_or_else(too_large)?;
    let limit =
        options.scratch.map_or(usize::MAX, |bytes| (bytes / size_of::<f32>()).saturating_sub(factors));
    let mut core = Options {
        rank: options.rank,
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
            Refused::Other(Error::Usage(format!("{}: this mode needs at least {needed} reads", pair.name)))
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
    Ok(Planned { plan, memory, expected_reads, parts: if multi_read { core.parts } else { 1 } })
}

/// Bytes of `reads` reads of both sides.
pub(crate) fn read_bytes(pair: &Pair<'_>, reads: u32) -> u64 {
    pair.bytes() as u64 * u64::from(reads)
}
