//! Any adapter in phlora's compact form: directions of its own products, in as many bits as a budget has room for.

use super::cut::cut_to;
use crate::adapter::Decomposed;
use crate::adapter::packed::OVERHEAD;
use crate::adapter::{AdapterFormat, Factors, Lora};
use crate::error::{Error, Result};
use phlora_core::policy::{Direction, Quantizer, allocate_bits};
use phlora_core::quantized::compact::DISTORTION;
use phlora_core::{Dtype, Goal};

/// Bits of every direction where no budget says how many.
const BITS: u8 = 4;

/// The rule by which bits are chosen.
const QUANTIZER: Quantizer<'_> = Quantizer { distortion: &DISTORTION, overhead: OVERHEAD };

/// An adapter, the rank of each module, 0 where it is dropped, and the squares that its codes lose.
type Found<'l> = (Lora<'l>, Vec<usize>, Vec<f64>);

/// The adapter in as many bits as there is room for. `ranks` are those of the policy; with a budget they
/// only say how many directions may be taken.
pub(super) fn compact<'l>(
    lora: &Lora<'l>,
    found: &[Decomposed],
    ranks: &[usize],
    goal: Goal,
) -> Result<Found<'l>> {
    let held = |(found, &rank): (&Decomposed, &usize)| rank.min(found.singular_values.len());
    let ranks: Vec<_> = found.iter().zip(ranks).map(held).collect();
    let Goal::Budget(bytes) = goal else {
        let bits: Vec<_> = ranks.iter().map(|&rank| vec![BITS; rank]).collect();
        return packed(lora, found, &bits);
    };
    let directions: Vec<_> =
        found.iter().zip(&ranks).flat_map(|(found, &rank)| directions(found, rank)).collect();
    let (mut allocated, mut left) = (vec![0; directions.len()], bytes);
    loop {
        allocate_bits(&directions, &QUANTIZER, left, &mut allocated);
        let mut rest = allocated.as_slice();
        let of = |&rank: &usize| {
            let (own, after) = rest.split_at(rank);
            rest = after;
            own.to_vec()
        };
        let bits: Vec<_> = ranks.iter().map(of).collect();
        if allocated.iter().all(|&bits| bits == 0) {
            let problem =
                format!("a budget of {bytes} bytes has no room for names, header and a single direction");
            return Err(Error::usage(problem));
        }
        let packed = packed(lora, found, &bits)?;
        let size = AdapterFormat::Phlora.length(&packed.0)?;
        if size <= bytes {
            return Ok(packed);
        }
        left = left.saturating_sub(size - bytes);
    }
}

/// What the directions of a module are worth: their shares of its own squares, since the base's are not known.
fn directions(found: &Decomposed, rank: usize) -> impl Iterator<Item = Direction> {
    let worth = |sigma: &f32| f64::from(*sigma).powi(2) / found.sum_squares.max(f64::MIN_POSITIVE);
    let sigma = found.singular_values.iter().take(rank);
    sigma.map(move |sigma| Direction { worth: worth(sigma), rows: found.shape.rows, cols: found.shape.cols })
}

/// The modules that have bits.
fn packed<'l>(lora: &Lora<'l>, found: &[Decomposed], bits: &[Vec<u8>]) -> Result<Found<'l>> {
    let factors = found.iter().zip(bits).map(|(found, bits)| {
        if bits.iter().all(|&bits| bits == 0) {
            return Ok(None);
        }
        let held = found.singular_values.len();
        let whole = Factors::encode(&found.a, &found.b, held, held, false, None, Dtype::F32)?;
        whole.compact(bits, None).map(Some)
    });
    let factors: Vec<_> = factors.collect::<Result<_>>()?;
    let ranks = factors.iter().map(|factors| factors.as_ref().map_or(0, Factors::rank)).collect();
    let lost =
        factors.iter().map(|factors| factors.as_ref().map_or(0.0, |factors| factors.lost_squares)).collect();
    Ok((cut_to(lora, factors), ranks, lost))
}
