//! Codes into factors.

use crate::adapter::Factor;
use crate::adapter::packed::{Packed, all_levels};
use crate::error::{Error, Result, filled};
use phlora_core::quantized::{Compact, Quantized, Scheme};
use phlora_core::{Dtype, Shape};
use std::sync::Arc;

/// The factors a [rank, in] and b [out, rank] of `packed`, in f16, which loses nothing. `levels` are those of a file, or of
/// this library.
pub(super) fn unpack(
    packed: Packed,
    shape: [usize; 2],
    levels: Option<&[u8]>,
) -> Result<(Factor<'static>, Factor<'static>)> {
    let [out, input] = shape;
    let own = if levels.is_none() {
        all_levels(packed.bits.iter().copied().max().unwrap_or(0))
    } else {
        Vec::new()
    };
    let levels = levels.unwrap_or(&own);
    let failed = |e: phlora_core::Error| Error::usage(e.to_string());
    let rank = packed.bits.len();
    let decoded = |codes: &[u8], cols: usize| -> Result<Vec<f32>> {
        let shape = Shape { rows: rank, cols };
        let compact = Compact { codes, bits: &packed.bits, scales: &packed.scales, levels };
        // Lengths are compared before there is memory for the values.
        let matrix = Quantized::new(shape, Scheme::Compact(compact)).map_err(failed)?;
        let mut values = filled(0.0, rank * cols)?;
        matrix.decode(0..rank, &mut values).map_err(failed)?;
        Ok(values)
    };
    let encoded = |values: &[f32]| -> Result<Vec<u8>> {
        let mut bytes = filled(0, 2 * values.len())?;
        phlora_core::encode(values, Dtype::F16, &mut bytes).map_err(failed)?;
        Ok(bytes)
    };
    let (a, rows) = (decoded(&packed.a, input)?, decoded(&packed.b, out)?);
    let mut b = filled(0.0, rows.len())?;
    for (k, row) in rows.chunks_exact(out.max(1)).enumerate() {
        b.iter_mut().skip(k).step_by(rank.max(1)).zip(row).for_each(|(to, value)| *to = *value);
    }
    let packed = Arc::new(packed);
    let a = Factor::new(Dtype::F16, [rank, input], encoded(&a)?)?;
    let b = Factor::new(Dtype::F16, [out, rank], encoded(&b)?)?;
    let (own_a, own_b) = (packed.a.len(), packed.b.len());
    Ok((a.of_codes(&packed, own_a), b.of_codes(&packed, own_b)))
}
