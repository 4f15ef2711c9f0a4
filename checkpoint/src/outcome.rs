//! What becomes of one pair: factors, or a place among what is left out.

use crate::error::{Error, Result};
use crate::lora::Factors;
use crate::measure::{difference, non_finite_error, same_bytes};
use crate::model::Tensor;
use crate::options::ExtractOptions;
use crate::pairs::Pair;
use crate::pass::{Sides, Stop, feed};
use crate::plans::{Planned, read_bytes};
use crate::pool::Ticket;
use crate::report::{LeftOut, ModuleReport};

/// One module of an extraction.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) report: ModuleReport,
    pub(crate) transposed: bool,
    pub(crate) factors: Factors,
}

/// What became of one pair.
pub(crate) enum Outcome {
    Module(Box<Module>),
    LeftOut(LeftOut),
}

/// Finds the factors of one pair in `buffer`.
pub(crate) fn extract_pair(
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
    let (tuning_norm, repair_norm) = tuning_and_repair(pair, ticket)?.unzip();
    Ok(Outcome::Module(Box::new(Module {
        report: ModuleReport {
            name: pair.module().to_owned(),
            shape: if pair.transposed { [cols, rows] } else { [rows, cols] },
            rank,
            energy: report.energy(),
            delta_norm: report.delta.sum_squares.sqrt(),
            singular_values: singular_values.to_vec(),
            reads: report.reads,
            converged: report.converged,
            rounding_loss: factors.lost_squares / report.delta.sum_squares,
            expert: pair.expert,
            tuning_norm,
            repair_norm,
        },
        transposed: pair.transposed,
        factors,
    })))
}

/// ‖tuned − origin‖ and ‖origin − base‖, where the origin is another model than the base.
fn tuning_and_repair(pair: &Pair<'_>, ticket: Ticket<'_>) -> Result<Option<(f64, f64)>> {
    let Some(origin) = pair.origin else { return Ok(None) };
    let norm = |from: Tensor<'_>, to: Tensor<'_>| {
        let (Some(from_dtype), Some(to_dtype)) = (from.dtype(), to.dtype()) else {
            return Err(origin.error(format!("its dtype {} is not read", origin.dtype_name())));
        };
        ticket.monitor().correct_total(0, (from.bytes().len() + to.bytes().len()) as u64);
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

/// Grows the worker's memory to `elements`, once.
pub(crate) fn reserve(buffer: &mut Vec<f32>, elements: usize) -> Result<()> {
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
