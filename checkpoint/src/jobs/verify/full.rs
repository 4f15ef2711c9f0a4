//! What an adapter makes of tensors without factors.

use super::found::{Measured, VerifiedTensor};
use crate::adapter::FullTensor;
use crate::adapter::stored::matrix_shape;
use crate::error::{Result, filled};
use crate::pairing::pairs::Pair;
use crate::run::pool::Ticket;
use crate::source::measure::{decode, non_finite_error};
use crate::source::tensor::Tensor;

/// Both sides must have a shape that the tensor can change, and the tuned one all its rows.
pub(super) fn check_full(pair: &Pair<'_>, tensor: &FullTensor<'_>) -> Result<()> {
    for side in [pair.base, pair.tuned] {
        side.readable()?;
        fits(tensor, side)?;
    }
    match (tensor.rows().and_then(<[usize]>::last), pair.tuned.shape().first()) {
        (Some(row), Some(rows)) if row >= rows => {
            Err(pair.tuned.error(format!("it has {rows} rows, but the adapter holds its row {row}")))
        }
        _ => Ok(()),
    }
}

/// Refuses values for a tensor of another shape.
fn fits(tensor: &FullTensor<'_>, side: Tensor<'_>) -> Result<()> {
    let (found, own) = (side.shape(), &tensor.shape);
    if tensor.fits(found) {
        return Ok(());
    }
    Err(side.error(format!("its shape is {found:?}, but the adapter holds values of {own:?} for it")))
}

/// A tensor that the base lacks: what the adapter holds of it against the tuned model.
pub(super) fn new_head(tensor: &FullTensor<'_>, tuned: Tensor<'_>) -> Result<VerifiedTensor> {
    fits(tensor, tuned)?;
    let mut values = filled(0.0, tuned.len())?;
    decode(tuned, tuned.readable()?, 0..values.len(), &mut values)?;
    let own = tensor.values.decoded()?;
    let rest: f64 = values.iter().zip(&own).map(|(one, other)| f64::from(one - other).powi(2)).sum();
    let name = tensor.name.clone().into_owned();
    Ok(VerifiedTensor { name, rows: None, delta_norm: 0.0, residual_norm: rest.sqrt(), outside_norm: 0.0 })
}

/// What a tensor without factors leaves of the difference; rows that the base lacks begin as what the adapter says.
pub(super) fn measure_full(pair: &Pair<'_>, tensor: &FullTensor<'_>, ticket: Ticket<'_>) -> Result<Measured> {
    let (base_dtype, tuned_dtype) = (pair.base.readable()?, pair.tuned.readable()?);
    let values = tensor.values.decoded()?;
    let ([common, cols], [rows, _]) = (matrix_shape(pair.base.shape()), matrix_shape(pair.tuned.shape()));
    let (mut base, mut tuned, mut left) = (filled(0.0, cols)?, filled(0.0, cols)?, filled(0.0, cols)?);
    let mut measured = Measured { delta: 0.0, rest: 0.0, outside: 0.0 };
    for row in 0..rows {
        let entries = row * cols..(row + 1) * cols;
        let (changed, known) = (tensor.has_row(row), row < common);
        if !changed && !known {
            continue;
        }
        decode(pair.tuned, tuned_dtype, entries.clone(), &mut tuned)?;
        base.fill(0.0);
        if known {
            decode(pair.base, base_dtype, entries, &mut base)?;
        }
        let of = |(tuned, base): (&f32, &f32)| f64::from(*tuned) - f64::from(*base);
        left.iter_mut().zip(tuned.iter().zip(&base)).for_each(|(left, sides)| *left = of(sides));
        let squares = |left: &[f64]| left.iter().map(|value| value * value).sum::<f64>();
        let delta = squares(&left);
        if !delta.is_finite() {
            return Err(non_finite_error(pair.base, pair.tuned, row, cols));
        }
        tensor.change(&values, row, &base, |at, added| left[at] -= added);
        if changed {
            measured.rest += squares(&left);
        }
        match (changed, known) {
            (true, true) => measured.delta += delta,
            (false, true) => measured.outside += delta,
            _ => {}
        }
        ticket.tick([base_dtype, tuned_dtype].iter().filter_map(|dtype| dtype.row_bytes(cols)).sum())?;
    }
    Ok(measured)
}
