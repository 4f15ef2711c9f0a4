//! Merges DoRA adapters, alone or with others, into rows of a weight: what each adds is what it makes of the base's rows, less
//! these.

use super::rows::{STEP_BYTES, check_finite};
use super::terms::Target;
use crate::adapter::dora::{Directions, Rescaling};
use crate::error::{Error, Result, filled};
use crate::run::pool::Ticket;
use crate::source::measure::decode;
use phlora_core::{Dtype, Kernel, Merge, Rows};
use std::ops::Range;

/// Merges and writes some rows of a weight.
pub(super) fn merge(
    target: &Target<'_>,
    rows: Range<usize>,
    ticket: Ticket<'_>,
    mut put: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let (tensor, dtype, [_, cols]) = (&target.tensor, target.dtype, target.shape);
    let failed = |e: phlora_core::Error| tensor.error(e.to_string());
    let named = |e: Error| tensor.error(e.to_string());
    let row_bytes = target.row_bytes();
    let most = (STEP_BYTES / row_bytes.max(1)).max(1);

    // What adds its product.
    let factors = target.factors()?;
    let (plain, _): (Vec<_>, Vec<_>) = target
        .adapters(&factors)?
        .into_iter()
        .zip(&target.terms)
        .filter(|(_, term)| term.module.magnitude.is_none())
        .unzip();
    let products =
        if plain.is_empty() { None } else { Some(Merge::new(Kernel::detect(), &plain).map_err(failed)?) };
    let mut prepared = filled(0.0, products.as_ref().map_or(0, Merge::prepared_len))?;
    let mut scratch = filled(0.0, products.as_ref().map_or(0, Merge::scratch_len))?;
    if let Some(products) = &products {
        products.prepare(&mut prepared).map_err(failed)?;
    }

    // What brings rows to a length.
    let mut directions = Vec::new();
    for term in &target.terms {
        let own = Directions::of(&term.module, term.turned)?;
        directions.extend(own.map(|own| (own, term.strength)));
    }
    let terms = directions.iter().map(|(own, _)| own.term()).collect::<Result<Vec<_>>>()?;
    let mut rescaled = Vec::new();
    for ((own, strength), term) in directions.iter().zip(&terms) {
        let base =
            |take: &mut dyn FnMut(usize, &[f32]) -> Result<()>| each(target, 0..target.shape[0], most, take);
        rescaled.push((Rescaling::new(own, term, base).map_err(named)?, *strength));
    }

    let (mut sums, mut merged, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    each(target, rows, most, &mut |first, base| {
        sums.clear();
        sums.extend(base.iter().map(|value| f64::from(*value)));
        if let Some(products) = &products {
            let from: Vec<u8> = base.iter().flat_map(|value| value.to_le_bytes()).collect();
            let mut to = filled(0, from.len())?;
            let source = Rows::new(Dtype::F32, &from);
            products.rows_to(&prepared, first, source, Dtype::F32, &mut to, &mut scratch).map_err(failed)?;
            merged.resize(base.len(), 0.0);
            phlora_core::decode(Rows::new(Dtype::F32, &to), &mut merged).map_err(failed)?;
            sums.iter_mut().zip(&merged).for_each(|(sum, value)| *sum = f64::from(*value));
        }
        for (rescaling, strength) in &mut rescaled {
            let change = |at: usize, change: f64| sums[at] += f64::from(*strength) * change;
            rescaling.change(first, base, change).map_err(named)?;
        }
        merged.clear();
        merged.extend(sums.iter().map(|sum| *sum as f32));
        bytes.resize(base.len() / cols.max(1) * row_bytes, 0);
        phlora_core::encode(&merged, dtype, &mut bytes).map_err(failed)?;
        check_finite(tensor, dtype, cols, first, &bytes)?;
        put(tensor.range().start + first * row_bytes, &bytes)?;
        ticket.tick(bytes.len())
    })
}

/// Gives `take` the decoded rows of the base, `most` at a time, with the number of the first.
fn each(
    target: &Target<'_>,
    rows: Range<usize>,
    most: usize,
    take: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let [_, cols] = target.shape;
    let mut base = Vec::new();
    for first in rows.clone().step_by(most) {
        let end = rows.end.min(first + most);
        base.resize((end - first) * cols, 0.0);
        decode(target.tensor, target.dtype, first * cols..end * cols, &mut base)?;
        take(first, &base)?;
    }
    Ok(())
}
