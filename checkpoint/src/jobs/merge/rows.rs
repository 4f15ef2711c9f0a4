//! Merges the products of factors into rows of a weight.

use super::terms::Target;
use crate::error::{Result, filled};
use crate::run::pool::Ticket;
use crate::source::tensor::Tensor;
use phlora_core::{Dtype, Kernel, Rows};
use std::ops::Range;

/// Bytes of the rows that are merged at once.
pub(super) const STEP_BYTES: usize = 1 << 20;

/// Merges and writes some rows of a weight.
pub(super) fn merge(
    target: &Target<'_>,
    rows: Range<usize>,
    buffer: &mut Vec<u8>,
    ticket: Ticket<'_>,
    mut put: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let factors = target.factors()?;
    let terms = target.adapters(&factors)?;
    let failed = |e: phlora_core::Error| match e {
        phlora_core::Error::NonFiniteFactor { index } | phlora_core::Error::AdapterShape { index } => {
            target.terms[index].module.a.error(format!("{e}, of module {}", target.terms[index].module.name))
        }
        other => target.tensor.error(other.to_string()),
    };
    let kernel = Kernel::detect();
    let merge = phlora_core::Merge::new(kernel, &terms).map_err(failed)?;
    let mut prepared = filled(0.0, merge.prepared_len())?;
    merge.prepare(&mut prepared).map_err(failed)?;
    let mut scratch = filled(0.0, merge.scratch_len())?;
    let row_bytes = target.row_bytes();
    let most = (STEP_BYTES / row_bytes.max(1)).max(1);
    for first in rows.clone().step_by(most) {
        let bytes = first * row_bytes..rows.end.min(first + most) * row_bytes;
        let from = &target.tensor.bytes()[bytes.clone()];
        if buffer.len() != from.len() {
            *buffer = filled(0, from.len())?;
        }
        let source = Rows::new(target.dtype, from);
        merge
            .rows_to(&prepared, first, source, target.dtype, buffer, &mut scratch)
            .map_err(|e| target.tensor.error(e.to_string()))?;
        check_finite(&target.tensor, target.dtype, target.shape[1], first, buffer)?;
        put(target.tensor.range().start + bytes.start, buffer)?;
        ticket.tick(from.len())?;
    }
    Ok(())
}

/// Refuses a merged weight that its format cannot hold.
pub(super) fn check_finite(
    tensor: &Tensor<'_>,
    dtype: Dtype,
    cols: usize,
    first: usize,
    buffer: &[u8],
) -> Result<()> {
    if phlora_core::all_finite(Rows::new(dtype, buffer)) {
        return Ok(());
    }
    for (row, bytes) in buffer.chunks_exact(dtype.row_bytes(cols).unwrap_or(0).max(1)).enumerate() {
        if !phlora_core::all_finite(Rows::new(dtype, bytes)) {
            let problem = format!(
                "merged, its row {} holds NaN, infinity or what is beyond the range of {}",
                first + row,
                dtype.name()
            );
            return Err(tensor.error(problem));
        }
    }
    Ok(())
}
