//! Stores tensors that LoRA cannot represent as they are after fine-tuning: norms, biases, rows of vocabularies.

use crate::adapter::stored::matrix_shape;
use crate::adapter::{AdapterFormat, Effect, Factor, FullTensor};
use crate::error::{Reason, Result, filled, room_for};
use crate::jobs::extract::also::Take;
use crate::naming::kind::{Kind, top};
use crate::pairing::pairs::{Pair, left_out};
use crate::report::{FullReport, LeftOut, Note};
use crate::run::pool::Ticket;
use crate::source::measure::{decode, difference, non_finite_error, same_bytes};
use crate::source::tensor::Tensor;
use phlora_core::policy::factor_bytes;
use phlora_core::{Dtype, Shape};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A tensor that was taken.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) tensor: FullTensor<'static>,
    pub(crate) report: FullReport,
}

/// Takes a tensor as `take` says, of rows that differ those with `token_energy` of the change; what of it is left out comes
/// beside it.
pub(crate) fn extract(
    pair: &Pair<'_>,
    take: Take,
    token_energy: f64,
    ticket: Ticket<'_>,
) -> Result<(Option<Full>, Option<LeftOut>)> {
    let unchanged = || Ok((None, Some(left_out(pair, "unchanged", Some(0.0)))));
    if let Take::Head { is_new: true } = take {
        let rows = matrix_shape(pair.tuned.shape())[0];
        let values = stored(pair.tuned, pair.tuned.readable()?, 0..rows)?;
        let shape = pair.tuned.shape().to_vec();
        let mut found = full(pair, "head", shape, values, Effect::Replaces, 0.0);
        found.report.is_new = true;
        return Ok((Some(found), None));
    }
    let whole = matches!(take, Take::Values | Take::Layer | Take::Head { .. });
    let same = same_bytes(pair.base, pair.tuned, ticket)?;
    if same && !whole {
        return unchanged();
    }
    let dtypes = (pair.base.readable()?, pair.tuned.readable()?);
    if let Take::Rows { new_only } = take {
        let energy = if new_only { 0.0 } else { token_energy };
        return rows(pair, dtypes, energy, ticket);
    }
    let found = difference((pair.base, dtypes.0), (pair.tuned, dtypes.1), pair.base.len(), ticket)?;
    if let Some(at) = found.non_finite {
        let cols = pair.base.row_len();
        return Err(non_finite_error(pair.base, pair.tuned, at / cols, cols).because(Reason::Unusable));
    }
    if found.sum_squares == 0.0 && !whole {
        return unchanged();
    }
    let shape = pair.base.shape();
    let matrix = matrix_shape(shape);
    let (values, effect) = if whole {
        (stored(pair.tuned, dtypes.1, 0..matrix[0])?, Effect::Replaces)
    } else {
        let (mut base, mut tuned) = (filled(0.0, pair.base.len())?, filled(0.0, pair.base.len())?);
        decode(pair.base, dtypes.0, 0..base.len(), &mut base)?;
        decode(pair.tuned, dtypes.1, 0..base.len(), &mut tuned)?;
        let bytes = tuned.iter().zip(&base).flat_map(|(tuned, base)| (tuned - base).to_le_bytes());
        (Factor::new(Dtype::F32, matrix, bytes.collect::<Vec<u8>>())?, Effect::Adds(1.0))
    };
    let kind = match pair.kind {
        _ if matches!(take, Take::Head { .. }) => "head",
        _ if take == Take::Layer => "layer",
        Kind::Norm => "norm",
        _ => "bias",
    };
    Ok((Some(full(pair, kind, shape.to_vec(), values, effect, found.sum_squares)), None))
}

/// The rows of a vocabulary that the base lacks, and of those that differ the ones that changed the most, until they hold
/// `energy` of the change.
fn rows(
    pair: &Pair<'_>,
    (base, tuned): (Dtype, Dtype),
    energy: f64,
    ticket: Ticket<'_>,
) -> Result<(Option<Full>, Option<LeftOut>)> {
    let (cols, all) = (pair.tuned.row_len(), pair.tuned.shape()[0]);
    let common = pair.base.shape()[0];
    let (mut before, mut after) = (filled(0.0, cols)?, filled(0.0, cols)?);
    let (mut taken, mut changed) = (Vec::new(), Vec::new());
    let row_bytes = |dtype: Dtype| dtype.row_bytes(cols).unwrap_or(0);
    for row in 0..all {
        decode(pair.tuned, tuned, row * cols..(row + 1) * cols, &mut after)?;
        if row < common {
            decode(pair.base, base, row * cols..(row + 1) * cols, &mut before)?;
        } else {
            before.copy_from_slice(&after);
        }
        let square = |(after, before): (&f32, &f32)| f64::from(after - before).powi(2);
        let squares: f64 = after.iter().zip(&before).map(square).sum();
        if !squares.is_finite() || !after.iter().all(|value| value.is_finite()) {
            return Err(if row < common {
                non_finite_error(pair.base, pair.tuned, row, cols).because(Reason::Unusable)
            } else {
                pair.tuned.error(format!("NaN or infinity in row {row}, expected finite weights"))
            });
        }
        if row >= common {
            taken.push(row);
        } else if squares > 0.0 {
            changed.push((row, squares));
        }
        ticket.tick(row_bytes(tuned) + if row < common { row_bytes(base) } else { 0 })?;
    }
    let (most, taken_squares, left_squares) = most_changed(changed, energy);
    let some = !most.is_empty();
    taken.extend(most);
    taken.sort_unstable();
    let left = |reason: &str| left_out(pair, reason, Some(left_squares.sqrt()));
    let label = pair.kind.label();
    let left = match (taken.is_empty(), left_squares > 0.0) {
        (_, true) if some => Some(left(&format!("{label}: the rows that changed the least"))),
        (_, true) => Some(left(&format!("{label}: the rows that the base has"))),
        (true, false) => Some(left("unchanged")),
        (false, false) => None,
    };
    if taken.is_empty() {
        return Ok((None, left));
    }
    let dtype = kept(tuned);
    let mut bytes = room_for(dtype.row_bytes(cols).unwrap_or(0).saturating_mul(taken.len()))?;
    for &row in &taken {
        bytes.extend_from_slice(&stored(pair.tuned, tuned, row..row + 1)?.encoded()?);
    }
    let shape = [taken.len(), cols];
    let (kind, new) = ("tokens", taken.iter().filter(|&&row| row >= common).count());
    let values = Factor::new(dtype, shape, bytes)?;
    let mut found = full(pair, kind, shape.to_vec(), values, Effect::Rows(taken), taken_squares);
    found.report.rows = Some(shape[0]);
    found.report.new_rows = new;
    Ok((Some(found), left))
}

/// The rows that hold `energy` of the Σ‖Δ‖² of all, as few as possible, with theirs and that of the others.
fn most_changed(mut rows: Vec<(usize, f64)>, energy: f64) -> (Vec<usize>, f64, f64) {
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let all: f64 = rows.iter().map(|(_, squares)| squares).sum();
    let mut kept = 0.0;
    let count = if energy >= 1.0 {
        rows.len()
    } else {
        let short = |&&(_, squares): &&(usize, f64)| {
            let short = kept < energy * all;
            kept += squares;
            short
        };
        rows.iter().take_while(short).count()
    };
    let sum = |rows: &[(usize, f64)]| rows.iter().map(|(_, squares)| squares).sum();
    let (most, least) = rows.split_at(count);
    (most.iter().map(|(row, _)| *row).collect(), sum(most), sum(least))
}

/// Says so where the rows of `full` that the base has too take more bytes than factors of `rank` would.
pub(crate) fn large(pair: &Pair<'_>, full: &Full, rank: usize, dtype: Dtype) -> Option<Note> {
    let FullReport { rows: Some(all), new_rows, bytes, .. } = full.report else { return None };
    let rows = all - new_rows;
    let bytes = bytes / all.max(1) as u64 * rows as u64;
    let shape = Shape { rows: pair.base.shape()[0], cols: pair.base.row_len() };
    let factors = factor_bytes(shape, rank.min(shape.rows).min(shape.cols), dtype);
    (bytes > factors).then(|| Note::Rows { name: full.report.name.clone(), rows, bytes, rank, factors })
}

fn full(
    pair: &Pair<'_>,
    kind: &str,
    shape: Vec<usize>,
    values: Factor<'static>,
    effect: Effect,
    sum_squares: f64,
) -> Full {
    let report = FullReport {
        name: pair.name.to_owned(),
        kind: kind.to_owned(),
        is_new: false,
        rows: None,
        new_rows: 0,
        delta_norm: sum_squares.sqrt(),
        bytes: values.encoded_len().unwrap_or(0) as u64,
    };
    let whole = (kind == "head").then(|| top(pair.memory).to_owned());
    Full { tensor: FullTensor { name: pair.memory.to_owned().into(), shape, values, effect, whole }, report }
}

/// The format in which values are kept: the tensor's own, to the bit, where adapters have it.
pub(crate) fn kept(dtype: Dtype) -> Dtype {
    if AdapterFormat::Peft.check(dtype).is_ok() { dtype } else { Dtype::F32 }
}

/// Rows of a tensor, in the format that they are kept in.
fn stored(tensor: Tensor<'_>, dtype: Dtype, rows: std::ops::Range<usize>) -> Result<Factor<'static>> {
    let [_, cols] = matrix_shape(tensor.shape());
    let (shape, entries) = ([rows.len(), cols], rows.start * cols..rows.end * cols);
    if kept(dtype) == dtype && !tensor.is_scattered() {
        return Factor::new(dtype, shape, tensor.entries(dtype, entries).bytes.to_vec());
    }
    let mut values = filled(0.0, entries.len())?;
    decode(tensor, dtype, entries, &mut values)?;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Factor::new(Dtype::F32, shape, bytes)
}

/// What of `found` an adapter of `format` can hold beside factors of the modules `factored`; why not comes instead of
/// the rest. `modules` are all that the models have.
pub(crate) fn placed(
    found: Vec<Arc<Full>>,
    format: AdapterFormat,
    factored: &BTreeSet<&str>,
    modules: &BTreeSet<&str>,
) -> (Vec<Arc<Full>>, Vec<LeftOut>) {
    let saves = |full: &Arc<Full>| full.tensor.effect == Effect::Replaces;
    let changed: BTreeSet<_> = found
        .iter()
        .filter(|full| saves(full) && (full.report.delta_norm > 0.0 || full.tensor.whole.is_some()))
        .map(|full| full.tensor.saved_module().to_owned())
        .collect();
    // PEFT saves every module whose path ends with one that is named.
    let other = |path: &str| modules.iter().any(|other| other.ends_with(path) && !changed.contains(*other));
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for full in found {
        let module = full.tensor.saved_module();
        let reason = if saves(&full) && !changed.contains(module) {
            "unchanged"
        } else if saves(&full) && full.tensor.whole.is_none() && other(module) {
            "path: PEFT would take it for the end of other modules' paths"
        } else if format.is_like_peft() && full.tensor.adds_to_bias() && !factored.contains(module) {
            "bias: PEFT has no place for it where its module has no factors"
        } else {
            kept.push(full);
            continue;
        };
        left_out.push(LeftOut {
            name: full.report.name.clone(),
            reason: reason.to_owned(),
            delta_norm: Some(full.report.delta_norm),
            weight_norm: None,
        });
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::most_changed;

    #[test]
    fn rows_that_changed_the_most_are_taken_first() {
        let rows = vec![(2, 1.0), (3, 5.0), (7, 0.5), (9, 3.5)];
        for (energy, taken) in [
            (0.0, vec![]),
            (0.4, vec![3]),
            (0.5, vec![3]),
            (0.51, vec![3, 9]),
            (0.9, vec![3, 9, 2]),
            (1.0, vec![3, 9, 2, 7]),
        ] {
            let (found, kept, left) = most_changed(rows.clone(), energy);
            assert_eq!(found, taken, "{energy}");
            assert!(kept >= energy * 10.0 && kept + left == 10.0, "{energy}: {kept} {left}");
        }
    }
}
