//! The outcome of one pair: factors, or an entry among what is left out.

use crate::adapter::Factors;
use crate::error::{Error, Reason, Result};
use crate::jobs::extract::full::Full;
use crate::jobs::extract::module::Module;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::pass::{Sides, Stop, feed};
use crate::jobs::extract::plans::{Aim, Planned, Refused, plan, read_bytes};
use crate::pairing::pairs::{Pair, left_out};
use crate::report::{LeftOut, Measured, ModuleReport};
use crate::run::pool::Ticket;
use crate::source::measure::{difference, non_finite_error, same_bytes, weight_norm};
use crate::source::stretch::weight_stretch;
use crate::source::tensor::Tensor;
use phlora_core::{Criterion, Dtype, Goal, Policy, Report};
use std::sync::Arc;

/// Pairs beyond the rank that a goal chose: rounding may take what the last ones needed bring.
const SPARE: usize = 8;

/// What became of one pair.
pub(crate) enum Outcome {
    Module(Box<Module>),
    /// What is stored beside the factors, and what of the same tensor is not.
    Full(Option<Arc<Full>>, Option<LeftOut>),
    LeftOut(LeftOut),
}

/// What came of the pairs beside modules, sorted by name.
#[derive(Debug, Clone)]
pub(crate) struct Others {
    pub(crate) full: Vec<Arc<Full>>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// What is kept of the factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing: only the spectrum matters, and the rank that would be chosen in this format.
    Spectrum(Dtype),
    /// The rank that the policy chose, in this format.
    Encoded(Dtype),
    /// All, in f32, to be cut later.
    Whole,
}

/// Why an extraction ended without factors.
enum Ended {
    /// Both sides are the same.
    Unchanged(u32),
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What one extraction left in the worker's memory.
struct Found<'b> {
    a: &'b [f32],
    b: &'b [f32],
    /// Known singular values, descending.
    singular_values: &'b [f32],
    /// Pairs in `a` and `b`.
    held: usize,
    /// The rank that the goal chose.
    chosen: usize,
    report: Report,
}

/// Finds the factors of one pair in `buffer`: at larger and larger ranks until what is asked for is there.
pub(crate) fn extract_pair(
    pair: &Pair<'_>,
    planned: &Planned,
    keep: Keep,
    buffer: &mut Vec<f32>,
    options: &ExtractOptions,
    ticket: Ticket<'_>,
) -> Result<Outcome> {
    let channels = options.channel_scales.of(pair);
    let unchanged = |announced, reads| {
        ticket.monitor().correct_total(read_bytes(pair, announced), read_bytes(pair, reads));
        Ok(Outcome::LeftOut(left_out(pair, "unchanged", Some(0.0))))
    };
    if pair.base.is_empty() || same_bytes(pair.base, pair.tuned, ticket)? {
        return unchanged(planned.expected_reads, 1);
    }
    let (weighed, base_norm) = (channels.as_deref(), weight_norm(pair.base, options.measured_norms)?);
    // Where modules are compared, or a plan may do it.
    let compared = match options.policy.goal {
        Goal::Budget(_) | Goal::TotalEnergy(_) => options.policy.by == Criterion::Relative,
        _ => options.policy.goal == Goal::Fixed && matches!(keep, Keep::Spectrum(_)),
    };
    let base_stretch = if compared { weight_stretch(pair.base, ticket)? } else { None };
    let (mut larger, mut reads, mut norms) = (None::<Planned>, 0, (false, None));
    loop {
        let planned = larger.as_ref().unwrap_or(planned);
        let found = match find(pair, planned, weighed, buffer, options, ticket) {
            Ok(found) => found,
            Err(Ended::Unchanged(_)) if weighed.is_some() => {
                let reason = "channel scale: it differs only where that is 0";
                return Ok(Outcome::LeftOut(left_out(pair, reason, None)));
            }
            Err(Ended::Unchanged(announced)) => return unchanged(announced, 1),
            Err(Ended::Failed(error)) => return Err(error),
        };
        reads += found.report.reads;
        if !norms.0 {
            norms = (true, tuning_and_repair(pair, ticket)?);
        }
        let (rows, cols) = pair.stored_shape();
        let measured = Measured {
            name: pair.module(),
            shape: if pair.transposed { [cols, rows] } else { [rows, cols] },
            kernel: pair.kernel(),
            singular_values: found.singular_values,
            held: found.held,
            sum_squares: found.report.delta.sum_squares,
            reads,
            converged: found.report.converged,
            expert: pair.expert,
            tuning_and_repair: norms.1,
            weighed: weighed.is_some(),
        };
        let (rank, factors) = encode(pair, &found, planned, keep, &options.policy, weighed)?;
        let mut report = measured.report(rank, factors.as_ref());
        report.memory = (pair.path() != pair.module()).then(|| pair.path().to_owned());
        report.weight_norm = base_norm;
        report.weight_stretch = base_stretch;
        if let Some(aim) = unmet(&measured, &report, &found, planned.aim)
            && let Some(next) = widen(pair, aim, options)?
        {
            reserve(buffer, next.memory)?;
            ticket.monitor().correct_total(0, read_bytes(pair, next.expected_reads));
            larger = Some(next);
            continue;
        }
        if rank == 0 {
            let reason = format!("noise: no direction above the floor of {:.3e}", report.noise_floor);
            return Ok(Outcome::LeftOut(left_out(pair, &reason, Some(report.delta_norm))));
        }
        return Ok(Outcome::Module(Box::new(Module::new(pair, report, channels, factors))));
    }
}

/// One extraction.
fn find<'b>(
    pair: &Pair<'_>,
    planned: &Planned,
    weighed: Option<&[f32]>,
    buffer: &'b mut [f32],
    options: &ExtractOptions,
    ticket: Ticket<'_>,
) -> std::result::Result<Found<'b>, Ended> {
    let Planned { plan, expected_reads, parts, .. } = planned;
    let policy = &options.policy;
    let mut announced = *expected_reads;
    let sides = Sides::new(pair).ok_or_else(|| pair.base.error("not a matrix of a dtype that is read"))?;
    let refused = |error| match error {
        phlora_core::Error::NonFinite { row } => {
            non_finite_error(pair.base, pair.tuned, row, sides.cols).because(Reason::Unusable)
        }
        other => pair.base.error(other.to_string()),
    };
    let (scratch, rest) = buffer.split_at_mut(plan.scratch_len());
    let started = match weighed {
        Some(channels) => plan.start_weighed(channels, scratch),
        None => plan.start(scratch),
    };
    let mut extractor = started.map_err(refused)?;
    while extractor.wants_pass() {
        if extractor.reads() >= announced {
            announced += 1;
            ticket.monitor().correct_total(0, read_bytes(pair, 1));
        }
        feed(&mut extractor, &sides, *parts, options.chunk_bytes, ticket).map_err(|stop| match stop {
            Stop::Core(error) => refused(error),
            Stop::Other(error) => error,
        })?;
        extractor.end_pass_watched(&mut |sweeps| ticket.decomposing(sweeps)).map_err(refused)?;
        if extractor.delta().is_some_and(|delta| delta.sum_squares == 0.0) {
            return Err(Ended::Unchanged(announced));
        }
    }
    let chosen = extractor.rank();
    let held = match planned.aim.goal {
        _ if planned.aim.given.is_some() => plan.rank(),
        Goal::Fixed | Goal::Budget(_) | Goal::TotalEnergy(_) => chosen,
        _ if chosen == 0 => 0,
        Goal::Energy(_) => policy.round(chosen + SPARE),
        Goal::NoiseFloor => policy.round(chosen),
    };
    let held = held.clamp(chosen, plan.rank());
    let (a, rest) = rest.split_at_mut(held * sides.cols);
    let (b, rest) = rest.split_at_mut(held * sides.rows);
    let singular_values = &mut rest[..plan.most_singular_values().max(held)];
    let report = extractor.finish_at(held, a, b, singular_values).map_err(refused)?;
    ticket.monitor().correct_total(read_bytes(pair, announced), read_bytes(pair, report.reads));
    let known = singular_values.iter().position(|&sigma| sigma <= 0.0).unwrap_or(singular_values.len());
    let singular_values = &singular_values[..known.max(held)];
    Ok(Found { a, b, singular_values, held, chosen, report })
}

/// The factors as they are kept, and their rank: where rounding takes more than there is to spare, a rank above
/// the chosen one.
fn encode(
    pair: &Pair<'_>,
    found: &Found<'_>,
    planned: &Planned,
    keep: Keep,
    policy: &Policy,
    weighed: Option<&[f32]>,
) -> Result<(usize, Option<Factors>)> {
    let one = |rank: usize, dtype: Dtype| {
        let rank = rank.min(found.held);
        Factors::encode(found.a, found.b, found.held, rank, pair.transposed, weighed, dtype).map_err(|e| {
            match e {
                Error::Usage { problem, reason: Some(reason) } => pair.tuned.error(problem).because(reason),
                Error::Usage { problem, .. } => pair.tuned.error(problem),
                other => other,
            }
        })
    };
    let fixed =
        !matches!(planned.aim.goal, Goal::Energy(_) | Goal::NoiseFloor) || planned.aim.given.is_some();
    let dtype = match keep {
        _ if found.chosen == 0 => return Ok((0, None)),
        Keep::Whole => return Ok((found.held, Some(one(found.held, Dtype::F32)?))),
        Keep::Spectrum(_) if fixed => return Ok((found.chosen, None)),
        Keep::Spectrum(dtype) | Keep::Encoded(dtype) => dtype,
    };
    let mut chosen = planned.aim.given.map_or(found.chosen, |rank| rank.min(found.held));
    let (rank, mut factors) = loop {
        let rank = if fixed { chosen } else { policy.round(chosen) };
        let factors = one(rank, dtype)?;
        let sigma = &found.singular_values[..rank.min(found.held)];
        let kept: f64 = sigma.iter().map(|&sigma| f64::from(sigma).powi(2)).sum();
        let left = kept - factors.lost_squares;
        match planned.aim.goal {
            Goal::Energy(share)
                if left < share * found.report.delta.sum_squares && factors.rank() < found.held =>
            {
                chosen = factors.rank() + 1;
            }
            _ => break (rank, factors),
        }
    };
    factors.pad(rank);
    Ok((rank, matches!(keep, Keep::Encoded(_)).then_some(factors)))
}

/// What to try next where the goal was not reached, although a larger rank may reach it.
fn unmet(measured: &Measured<'_>, report: &ModuleReport, found: &Found<'_>, aim: Aim) -> Option<Aim> {
    let sigma = &measured.singular_values[..found.held];
    let squares = sigma.iter().map(|&sigma| f64::from(sigma).powi(2));
    match aim.goal {
        Goal::Energy(share) => {
            let missing = (share - (report.energy - report.rounding_loss)) * measured.sum_squares;
            (missing > 0.0).then(|| aim.larger(squares, missing))?
        }
        Goal::NoiseFloor if found.chosen == aim.rank => aim.larger(squares, 0.0),
        _ => None,
    }
}

/// A plan for a larger rank; `None` where the scratch does not allow it.
fn widen(pair: &Pair<'_>, aim: Aim, options: &ExtractOptions) -> Result<Option<Planned>> {
    match plan(pair, aim, options) {
        Ok(planned) => Ok(Some(planned)),
        Err(Refused::Scratch(_)) => Ok(None),
        Err(Refused::Other(error)) => Err(error),
    }
}

/// ‖tuned − origin‖ and ‖origin − base‖, where the origin is another model than the base.
fn tuning_and_repair(pair: &Pair<'_>, ticket: Ticket<'_>) -> Result<Option<(f64, f64)>> {
    let Some(origin) = pair.origin else { return Ok(None) };
    let norm = |from: Tensor<'_>, to: Tensor<'_>| {
        let (from_dtype, to_dtype) = (from.readable()?, to.readable()?);
        ticket.monitor().correct_total(0, (from.byte_len() + to.byte_len()) as u64);
        let found = difference((from, from_dtype), (to, to_dtype), origin.len(), ticket)?;
        match found.non_finite {
            None => Ok(found.sum_squares.sqrt()),
            // The others were read before.
            Some(at) => {
                let row = origin.stored_row(at / origin.row_len());
                Err(origin.error(format!("NaN or infinity in row {row}, expected finite weights")))
            }
        }
    };
    Ok(Some((norm(origin, pair.tuned)?, norm(pair.base, origin)?)))
}

/// Measures a pair that is left out.
pub(crate) fn measure(
    pair: &Pair<'_>,
    reason: &str,
    entries: Option<usize>,
    strict: bool,
    measured_norm: bool,
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
        let weight_norm = if found.sum_squares > 0.0 { weight_norm(pair.base, measured_norm)? } else { None };
        return Ok(LeftOut { weight_norm, ..left_out(pair, reason, Some(found.sum_squares.sqrt())) });
    };
    let cols = pair.base.shape().get(1..).map_or(1, |rest| rest.iter().product::<usize>().max(1));
    if strict {
        return Err(non_finite_error(pair.base, pair.tuned, at / cols, cols).because(Reason::Unusable));
    }
    Ok(left_out(pair, &format!("{reason}: NaN or infinity in row {}", at / cols), None))
}

/// Grows the worker's memory to `elements`, once.
pub(crate) fn reserve(buffer: &mut Vec<f32>, elements: usize) -> Result<()> {
    if elements <= buffer.len() {
        return Ok(());
    }
    *buffer = Vec::new();
    buffer.try_reserve_exact(elements).map_err(|_| {
        Error::usage(format!("{} bytes per thread cannot be allocated", 4 * elements)).because(Reason::Memory)
    })?;
    // Not filled but asked for as zeros, now that there is room: the system makes those when they are touched, by several
    // threads then.
    *buffer = Vec::new();
    *buffer = vec![0.0; elements];
    Ok(())
}
