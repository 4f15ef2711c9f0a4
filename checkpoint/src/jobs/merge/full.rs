//! Merges what adapters change beside factors: norms, biases and rows of vocabularies.

use super::rows::{STEP_BYTES, check_finite};
use super::terms::FullTarget;
use crate::error::{Result, collected, filled};
use crate::run::pool::Ticket;
use crate::source::measure::decode;

/// Gives `put` the bytes of the whole tensor, in order, with their places in the file. Rows that no adapter changes are
/// those of the base.
pub(super) fn merge(
    target: &FullTarget<'_>,
    ticket: Ticket<'_>,
    mut put: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let [rows, cols] = target.shape;
    let (tensor, dtype) = (&target.tensor, target.dtype);
    let failed = |e: phlora_core::Error| tensor.error(e.to_string());
    let row_bytes = tensor.bytes().len() / rows.max(1);
    let decoded =
        target.terms.iter().map(|(change, _)| change.values.decoded()).collect::<Result<Vec<_>>>()?;
    let (mut base, mut sum, mut merged) = (filled(0.0, cols)?, filled(0.0, cols)?, filled(0.0, cols)?);
    let step = (STEP_BYTES / row_bytes.max(1)).max(1);
    for first in (0..rows).step_by(step) {
        let from = first * row_bytes;
        let until = rows.min(first + step) * row_bytes;
        let mut buffer = collected(until - from, tensor.bytes()[from..until].iter().copied())?;
        for (row, bytes) in (first..).zip(buffer.chunks_exact_mut(row_bytes.max(1))) {
            if !target.terms.iter().any(|(change, _)| change.has_row(row)) {
                continue;
            }
            decode(*tensor, dtype, row * cols..(row + 1) * cols, &mut base)?;
            sum.iter_mut().zip(&base).for_each(|(sum, base)| *sum = f64::from(*base));
            for ((change, strength), values) in target.terms.iter().zip(&decoded) {
                change.change(values, row, &base, |at, added| sum[at] += f64::from(*strength) * added);
            }
            merged.iter_mut().zip(&sum).for_each(|(merged, sum)| *merged = *sum as f32);
            phlora_core::encode(&merged, dtype, bytes).map_err(failed)?;
            check_finite(tensor, dtype, cols, row, bytes)?;
        }
        put(tensor.range().start + from, &buffer)?;
        ticket.tick(buffer.len())?;
    }
    Ok(())
}
