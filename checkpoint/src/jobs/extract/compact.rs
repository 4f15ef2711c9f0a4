//! The compact form: which directions of which modules are kept, and in how many bits.

use super::Extraction;
use super::module::{Module, replace};
use super::outcome::{Keep, Others};
use super::plans::Aim;
use super::survey::Survey;
use crate::adapter::packed::{OVERHEAD, Packed};
use crate::adapter::{Factor, Lora, LoraModule, Target};
use crate::error::{Error, Result};
use crate::pairing::pairs::Pair;
use crate::report::LeftOut;
use phlora_core::policy::{Criterion, Direction, Quantizer, allocate_bits};
use phlora_core::quantized::compact::DISTORTION;
use phlora_core::{Dtype, Goal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bits of every direction where a rank was given.
pub(super) const BITS: u8 = 4;

/// Bits of a direction from which the first factorisation guesses how many there will be.
const FEW_BITS: u64 = 2;

/// Least rank of the first factorisation.
const LEAST: usize = 16;

/// The rule by which bits are chosen.
const QUANTIZER: Quantizer<'_> = Quantizer { distortion: &DISTORTION, overhead: OVERHEAD };

/// Extracts into the compact form: so many bytes of the file, or one rank for all in 4 bits.
pub(super) fn extract(survey: &Survey<'_>) -> Result<Extraction> {
    let policy = &survey.options.policy;
    match policy.goal {
        Goal::Budget(bytes) => within_budget(survey, bytes),
        Goal::Fixed => {
            let (modules, others) = survey.run(|pair| Some(Aim::of(pair, policy)), Keep::Whole, true)?;
            let modules: Result<_> =
                modules.iter().map(|module| module.compact(&vec![BITS; module.report.rank])).collect();
            survey.extraction(modules?, others)
        }
        Goal::Energy(_) | Goal::TotalEnergy(_) | Goal::NoiseFloor => Err(Error::usage(
            "the compact form is chosen by a budget of bytes or a rank; an energy or the noise floor says nothing of bits"
                .into(),
        )),
    }
}

/// The directions and bits that are worth most within `bytes`, the size of the file.
fn within_budget(survey: &Survey<'_>, bytes: u64) -> Result<Extraction> {
    let most = survey.options.policy.max_rank;
    let per_rank: u64 = survey.pairs().map(|pair| FEW_BITS * sides(pair) / 8 + OVERHEAD as u64).sum();
    let first = usize::try_from(bytes / per_rank.max(1)).unwrap_or(usize::MAX).clamp(LEAST, most.max(LEAST));
    let (mut modules, others) =
        survey.run(|pair| Some(Aim::fixed(pair, first.min(most))), Keep::Whole, true)?;
    loop {
        let whole = survey.extraction(std::mem::take(&mut modules), others.clone())?;
        let chosen = choose(survey, &whole, bytes)?;
        let larger = larger(survey, &whole.modules, &chosen);
        if larger.is_empty() {
            return finish(survey, &whole.modules, others, &chosen);
        }
        modules = whole.modules;
        let (again, _) =
            survey.run(|pair| Some(Aim::fixed(pair, *larger.get(pair.name)?)), Keep::Whole, false)?;
        replace(&mut modules, again);
    }
}

fn sides(pair: &Pair<'_>) -> u64 {
    let (rows, cols) = pair.stored_shape();
    (rows + cols) as u64
}

/// Bits for every direction of every module, of which a file of `bytes` has room.
fn choose(survey: &Survey<'_>, whole: &Extraction, bytes: u64) -> Result<Vec<Vec<u8>>> {
    let directions: Vec<_> =
        whole.modules.iter().flat_map(|module| directions(module, survey.options.policy.by)).collect();
    let mut allocated = vec![0; directions.len()];
    // Names, headers and padding come on top of the codes.
    let mut left = bytes;
    loop {
        allocate_bits(&directions, &QUANTIZER, left, &mut allocated);
        if allocated.iter().all(|&bits| bits == 0) {
            let problem =
                format!("a budget of {bytes} bytes has no room for names, header and a single direction");
            return Err(Error::usage(problem));
        }
        let mut rest = allocated.as_slice();
        let of = |module: &Module| {
            let (own, after) = rest.split_at(rank(module));
            rest = after;
            own.to_vec()
        };
        let chosen: Vec<_> = whole.modules.iter().map(of).collect();
        let size = survey.options.format.length(&draft(survey, whole, &chosen)?)?;
        if size <= bytes {
            return Ok(chosen);
        }
        left = left.saturating_sub(size - bytes);
    }
}

/// Pairs that a module holds.
fn rank(module: &Module) -> usize {
    module.report.rank
}

/// What the directions of a module are worth: σ²/‖W‖²_F, or σ² by energy.
///
/// Directions of the first ranks do not count more here, as they do in f16: where they are cheap, so many are kept that
/// models are the better for the later ones.
fn directions(module: &Module, by: Criterion) -> impl Iterator<Item = Direction> {
    let [rows, cols] = module.report.shape;
    let norm = match by {
        Criterion::Energy => 1.0,
        Criterion::Relative => {
            module.report.weight_norm.filter(|norm| *norm > 0.0).unwrap_or(module.report.delta_norm)
        }
    };
    let worth = move |sigma: &f32| (f64::from(*sigma) / norm).powi(2);
    let sigma = module.report.singular_values.iter().take(rank(module));
    sigma.map(move |sigma| Direction { worth: worth(sigma), rows, cols })
}

/// The adapter with these bits, of which nothing is encoded yet.
fn draft<'w>(survey: &Survey<'_>, whole: &'w Extraction, bits: &[Vec<u8>]) -> Result<Lora<'w>> {
    let mut lora = whole.own_ranks();
    let mut modules = Vec::new();
    for (module, bits) in std::mem::take(&mut lora.modules).into_iter().zip(bits) {
        let codes = Arc::new(Packed::draft(bits.iter().copied().filter(|&bits| bits > 0).collect()));
        let ([out, input], rank) = (module.shape(), codes.bits.len());
        if rank > 0 {
            let factor = |shape: [usize; 2]| Factor::new(Dtype::F16, shape, vec![0; 2 * shape[0] * shape[1]]);
            let (a, b) =
                (factor([rank, input])?.of_codes(&codes, 0), factor([out, rank])?.of_codes(&codes, 0));
            modules.push(LoraModule { a, b, ..module });
        }
    }
    let targets = modules.iter().filter(|module| module.target == Target::Module);
    lora.targets = Some(survey.targets(targets.map(|module| module.name.as_ref())));
    Ok(Lora { modules, ..lora })
}

/// Larger ranks to factorise where all that there was got bits.
fn larger<'s>(survey: &'s Survey<'_>, modules: &[Module], bits: &[Vec<u8>]) -> BTreeMap<&'s str, usize> {
    let full: BTreeMap<_, _> = modules
        .iter()
        .zip(bits)
        .filter(|(_, bits)| bits.last().is_some_and(|&bits| bits > 0))
        .map(|(module, bits)| (module.report.name.as_str(), bits.len()))
        .collect();
    let more = |pair: &'s Pair<'_>| {
        let &held = full.get(pair.module())?;
        let (rows, cols) = pair.stored_shape();
        let most = rows.min(cols).min(survey.options.policy.max_rank);
        (held < most).then(|| (pair.name, (2 * held).min(most)))
    };
    survey.pairs().filter_map(more).collect()
}

/// Encodes what was chosen.
fn finish(
    survey: &Survey<'_>,
    modules: &[Module],
    mut others: Others,
    bits: &[Vec<u8>],
) -> Result<Extraction> {
    let mut kept = Vec::new();
    for (module, bits) in modules.iter().zip(bits) {
        if bits.iter().all(|&bits| bits == 0) {
            others.left_out.push(LeftOut {
                name: format!("{}.weight", module.report.name),
                reason: "budget: its bytes keep more elsewhere".into(),
                delta_norm: Some(module.report.delta_norm),
                weight_norm: module.report.weight_norm,
            });
        } else {
            kept.push(module.compact(bits)?);
        }
    }
    survey.extraction(kept, others)
}
