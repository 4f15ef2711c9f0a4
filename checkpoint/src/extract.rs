//! The extraction of a whole pair: plans first, then modules over threads, largest first.

use crate::error::{Error, Result};
use crate::factors::Factors;
use crate::measure::{difference, non_finite_error, same_bytes};
use crate::model::Model;
use crate::monitor::Monitor;
use crate::options::ExtractOptions;
use crate::pairs::{Pair, Task, decide, targets};
use crate::pass::{Sides, Stop, feed};
use crate::plans::{Planned, plans, read_bytes};
use crate::pool::{Ticket, run};
use crate::report::{LeftOut, ModuleReport, Total};
use phlora_core::Dtype;
use std::collections::BTreeSet;
use std::time::Instant;

/// An adapter in memory, ready to be saved, and what is to be reported about it.
#[derive(Debug)]
pub struct Extraction {
    pub(crate) modules: Vec<Module>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) dtype: Dtype,
    pub(crate) targets: Vec<String>,
    pub(crate) base_name: String,
    pub(crate) causal: bool,
    pub(crate) started: Instant,
    pub(crate) bytes_in: u64,
}

/// One module of an extraction.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) report: ModuleReport,
    pub(crate) transposed: bool,
    pub(crate) factors: Factors,
}

/// What became of one pair.
enum Outcome {
    Module(Module),
    LeftOut(LeftOut),
}

/// Finds the factors of every module in `options.filter` that differs between `base` and `tuned`.
///
/// The result does not depend on `threads` or `block_bytes`, not in a single bit. Peak heap is at most
/// threads × scratch (the largest need of a module, at most `options.scratch`) plus the encoded factors.
///
/// # Errors
/// [`Error::NothingToExtract`] when no selected module differs; else what the two models or the options
/// have wrong, with file and tensor.
pub fn extract(
    base: &Model,
    tuned: &Model,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Extraction> {
    let started = Instant::now();
    if options.rank == 0 {
        return Err(Error::Usage("the rank is 0, expected at least 1".into()));
    }
    let pairing = decide(base, tuned, &options.filter)?;
    let mut jobs = pairing.jobs;
    // Largest first, so that no large one is left to a single thread at the end.
    jobs.sort_by_key(|(pair, _)| (std::cmp::Reverse(pair.bytes()), pair.name));
    let plans = plans(&jobs, options)?;
    let memory = plans.iter().flatten().map(|plan| plan.memory).max().unwrap_or(0);
    for ((pair, _), plan) in jobs.iter().zip(&plans) {
        let reads = plan.as_ref().map_or(1, |plan| plan.expected_reads);
        monitor.correct_total(0, read_bytes(pair, reads));
    }

    let work = |buffer: &mut Vec<f32>, ticket: Ticket<'_>| {
        let (pair, task) = &jobs[ticket.job()];
        match (task, &plans[ticket.job()]) {
            (Task::Measure { reason, entries, strict }, _) => {
                measure(pair, reason, *entries, *strict, ticket).map(Outcome::LeftOut)
            }
            (Task::Extract, Some(planned)) => {
                reserve(buffer, memory)?;
                extract_pair(pair, planned, buffer, options, ticket)
            }
            (Task::Extract, None) => Err(Error::Usage("no plan".into())),
        }
    };
    let outcomes = run(options.threads.get(), jobs.len(), monitor, Vec::new, work)?;
    monitor.check()?;

    let (mut modules, mut left_out) = (Vec::new(), pairing.one_sided);
    for outcome in outcomes {
        match outcome {
            Outcome::Module(module) => modules.push(module),
            Outcome::LeftOut(tensor) => left_out.push(tensor),
        }
    }
    modules.sort_by(|a, b| a.report.name.cmp(&b.report.name));
    left_out.sort_by(|a, b| a.name.cmp(&b.name));
    if modules.is_empty() {
        return Err(nothing(&left_out));
    }
    let names: BTreeSet<_> = modules.iter().map(|module| module.report.name.as_str()).collect();
    let targets = targets(&names, base, tuned);
    let config = base.config();
    Ok(Extraction {
        modules,
        left_out,
        dtype: options.dtype,
        targets,
        base_name: config.name_or_path.clone().unwrap_or_else(|| base.path().display().to_string()),
        causal: config.is_causal(),
        started,
        bytes_in: monitor.done(),
    })
}

impl Extraction {
    /// The adapter's rank: the largest of its modules' ranks, to which the others are padded with zeros.
    pub fn rank(&self) -> usize {
        self.modules.iter().map(|module| module.factors.rank).max().unwrap_or(0)
    }

    /// Sums over the modules.
    pub fn total(&self) -> Total {
        let reports: Vec<_> = self.modules.iter().map(|module| module.report.clone()).collect();
        let sides: u64 = reports.iter().map(|m| (m.shape[0] + m.shape[1]) as u64).sum();
        Total::of(&reports, sides * self.rank() as u64)
    }
}

/// Finds the factors of one pair in `buffer`.
fn extract_pair(
    pair: &Pair<'_>,
    planned: &Planned,
    buffer: &mut [f32],
    options: &ExtractOptions,
    ticket: Ticket<'_>,
) -> Result<Outcome> {
    let Planned { plan, expected_reads, parts, .. } = planned;
    let mut announced = *expected_reads;
    let unchanged = |announced, reads| {
        ticket.monitor().correct_total(read_bytes(pair, announced), read_bytes(pair, reads));
        Ok(Outcome::LeftOut(left_out(pair, "unchanged", Some(0.0))))
    };
    let sides = Sides::new(pair).ok_or_else(|| pair.base.error("not a matrix of a dtype that is read"))?;
    if pair.base.is_empty() || same_bytes(pair.base, pair.tuned, ticket)? {
        return unchanged(announced, 1);
    }
    let refused = |error| match error {
        phlora_core::Error::NonFinite { row } => non_finite_error(pair.base, pair.tuned, row, sides.cols),
        other => pair.base.error(other.to_string()),
    };
    let rank = plan.rank();
    let (scratch, rest) = buffer.split_at_mut(plan.scratch_len());
    let (a, rest) = rest.split_at_mut(rank * sides.cols);
    let (b, rest) = rest.split_at_mut(rank * sides.rows);
    let singular_values = &mut rest[..rank];

    let mut extractor = plan.start(scratch).map_err(refused)?;
    while extractor.wants_pass() {
        if extractor.reads() >= announced {
            announced += 1;
            ticket.monitor().correct_total(0, read_bytes(pair, 1));
        }
        feed(&mut extractor, &sides, *parts, options.block_bytes, ticket).map_err(|stop| match stop {
            Stop::Core(error) => refused(error),
            Stop::Other(error) => error,
        })?;
        extractor.end_pass().map_err(refused)?;
        if extractor.delta().sum_squares == 0.0 {
            return unchanged(announced, extractor.reads());
        }
    }
    let report = extractor.finish(a, b, singular_values).map_err(refused)?;
    ticket.monitor().correct_total(read_bytes(pair, announced), read_bytes(pair, report.reads));
    let factors = Factors::encode(a, b, rank, pair.transposed, options.dtype).map_err(|e| match e {
        Error::Usage(problem) => pair.tuned.error(problem),
        other => other,
    })?;
    let (rows, cols) = (sides.rows, sides.cols);
    Ok(Outcome::Module(Module {
        report: ModuleReport {
            name: pair.module().to_owned(),
            shape: if pair.transposed { [cols, rows] } else { [rows, cols] },
            rank,
            energy: report.energy(),
            delta_norm: report.delta.sum_squares.sqrt(),
            singular_values: singular_values.to_vec(),
            reads: report.reads,
            converged: report.converged,
        },
        transposed: pair.transposed,
        factors,
    }))
}

/// Measures a pair that is left out.
fn measure(
    pair: &Pair<'_>,
    reason: &str,
    entries: Option<usize>,
    strict: bool,
    ticket: Ticket<'_>,
) -> Result<LeftOut> {
    if same_bytes(pair.base, pair.tuned, ticket)? {
        return Ok(left_out(pair, "unchanged", Some(0.0)));
    }
    let (Some(base), Some(tuned), Some(entries)) = (pair.base.dtype(), pair.tuned.dtype(), entries) else {
        let dtype = [pair.base, pair.tuned].into_iter().find(|side| side.dtype().is_none());
        let why =
            dtype.map_or("the shapes differ".into(), |d| format!("dtype {} is not read", d.dtype_name()));
        return Ok(left_out(pair, &format!("{reason}: {why}"), None));
    };
    let found = difference((pair.base, base), (pair.tuned, tuned), entries, ticket)?;
    let Some(at) = found.non_finite else {
        let reason = if found.sum_squares == 0.0 && pair.base.shape() == pair.tuned.shape() {
            "unchanged"
        } else {
            reason
        };
        return Ok(left_out(pair, reason, Some(found.sum_squares.sqrt())));
    };
    let cols = pair.base.shape().get(1..).map_or(1, |rest| rest.iter().product::<usize>().max(1));
    if strict {
        return Err(non_finite_error(pair.base, pair.tuned, at / cols, cols));
    }
    Ok(left_out(pair, &format!("{reason}: NaN or infinity in row {}", at / cols), None))
}

fn left_out(pair: &Pair<'_>, reason: &str, delta_norm: Option<f64>) -> LeftOut {
    LeftOut { name: pair.name.to_owned(), reason: reason.to_owned(), delta_norm }
}

/// Why there is nothing: all alike, or only what is not extracted differs.
fn nothing(left_out: &[LeftOut]) -> Error {
    let mut groups = std::collections::BTreeMap::<&str, usize>::new();
    for tensor in left_out.iter().filter(|tensor| tensor.group() != "unchanged") {
        *groups.entry(tensor.group()).or_default() += 1;
    }
    if groups.is_empty() {
        return Error::NothingToExtract(format!("all {} tensors are the same on both sides", left_out.len()));
    }
    let list: Vec<_> = groups.iter().map(|(group, count)| format!("{group} ({count})")).collect();
    Error::NothingToExtract(format!("no selected linear layer differs; left out: {}", list.join(", ")))
}

/// Grows the worker's memory to `elements`, once.
fn reserve(buffer: &mut Vec<f32>, elements: usize) -> Result<()> {
    let missing = elements.saturating_sub(buffer.len());
    buffer.try_reserve_exact(missing).map_err(|_| {
        Error::Usage(format!(
            "{} bytes per thread cannot be allocated; see --scratch and --threads",
            4 * elements
        ))
    })?;
    buffer.resize(buffer.len() + missing, 0.0);
    Ok(())
}
