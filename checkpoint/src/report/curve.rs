//! From the spectra of a report: energy against bytes, and what each policy would choose.

use crate::report::{CurvePoint, ModuleReport, Report};
use phlora_core::policy::{Allocation, Candidate, Limit, allocate_best, factor_bytes, factor_dtype};
use phlora_core::{Criterion, Dtype, Goal, Policy, Spectrum};

/// Points that the curve has at most.
const POINTS: usize = 100;

/// The curve over `modules`: their directions by falling worth, as a budget takes those of layers, bytes of factors in `dtype`
/// without names and headers. Ends where the known singular values do.
pub(crate) fn energy_by_bytes(modules: &[ModuleReport], dtype: Dtype, by: Criterion) -> Vec<CurvePoint> {
    let all: f64 = modules.iter().map(|module| module.delta_norm.powi(2)).sum();
    let mut directions = Vec::new();
    for module in modules {
        let bytes = direction_bytes(module.shape, dtype);
        let sigma = module.spectrum();
        let candidate = module.candidate(&sigma, dtype);
        directions.extend(sigma.iter().enumerate().map(|(at, &sigma)| Direction {
            square: f64::from(sigma).powi(2),
            bytes,
            worth_per_byte: candidate.worth(by, at) / bytes,
        }));
    }
    directions.sort_by(|a, b| b.worth_per_byte.total_cmp(&a.worth_per_byte));
    let (mut points, mut bytes, mut kept) = (vec![CurvePoint { bytes: 0, energy: 0.0 }], 0.0, 0.0);
    let step = directions.iter().map(|one| one.bytes).sum::<f64>() / POINTS as f64;
    // Dense where the curve is steep: the first points double.
    let mut next = directions.first().map_or(0.0, |one| one.bytes);
    for (i, one) in directions.iter().enumerate() {
        (bytes, kept) = (bytes + one.bytes, kept + one.square);
        if bytes >= next || i + 1 == directions.len() {
            let energy = if all > 0.0 { (kept / all).min(1.0) } else { 1.0 };
            #[allow(clippy::cast_sign_loss)] // a sum of sizes
            let whole = bytes.round() as u64;
            points.push(CurvePoint { bytes: whole, energy });
            next = bytes + (bytes / 4.0).min(step);
        }
    }
    points
}

/// One direction of a module.
struct Direction {
    square: f64,
    bytes: f64,
    worth_per_byte: f64,
}

/// Bytes of one direction of a module, in rows long enough for the blocks of the format.
fn direction_bytes([out, input]: [usize; 2], dtype: Dtype) -> f64 {
    let a = factor_dtype(dtype, input);
    let row = |dtype: Dtype, len: usize| dtype.row_bytes(len).unwrap_or(0) as f64;
    row(a, input) + out as f64 * row(dtype, 256) / 256.0
}

/// What a policy would choose by the spectra of a report.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// A rank for each module; 0 where the policy leaves it out.
    pub ranks: Vec<usize>,
    /// Bytes of the factors, without names and headers.
    pub bytes: u64,
    /// Kept share of ‖Δ‖² over all modules.
    pub energy: f64,
    /// Whether the singular values up to each module's rank decide it. If not, it is estimated by bounds of those behind, and the
    /// energy is one that these ranks keep at least.
    pub known: bool,
}

/// The ranks that `policy` would choose for the modules of `report`, as far as their singular values are known, and
/// what factors in `dtype` would take and keep.
pub fn choose(report: &Report, policy: &Policy, dtype: Dtype) -> Choice {
    let spectra: Vec<_> = report.modules.iter().map(ModuleReport::spectrum).collect();
    let candidates: Vec<_> =
        report.modules.iter().zip(&spectra).map(|(module, known)| module.candidate(known, dtype)).collect();
    let modules: Vec<_> = candidates.iter().map(|candidate| candidate.spectrum).collect();
    let mut ranks: Vec<usize> = match policy.goal.limit() {
        Some(limit) => divided(&candidates, policy, limit),
        None => modules.iter().map(|spectrum| wanted(spectrum, policy)).collect(),
    };
    let known = report.modules.iter().zip(&ranks).all(|(module, &rank)| is_decided(module, rank, policy));
    if policy.uniform {
        let largest = ranks.iter().copied().max().unwrap_or(0);
        ranks.fill(largest);
    }
    let all: f64 = modules.iter().map(|spectrum| spectrum.sum_squares).sum();
    let pairs = || modules.iter().zip(&ranks);
    let kept: f64 = pairs().map(|(spectrum, &rank)| spectrum.kept(rank)).sum();
    Choice {
        bytes: pairs()
            .map(|(spectrum, &rank)| factor_bytes(spectrum.shape, rank, dtype))
            .fold(0, u64::saturating_add),
        energy: if all > 0.0 { (kept / all).min(1.0) } else { 1.0 },
        known,
        ranks,
    }
}

/// Whether the singular values that have converged decide that `policy` gives a module `rank`.
pub(crate) fn is_decided(module: &ModuleReport, rank: usize, policy: &Policy) -> bool {
    let narrow = module.shape[0].min(module.shape[1]);
    let sigma = &module.singular_values;
    let most = policy.max_rank.min(narrow);
    most <= sigma.len()
        || match policy.goal {
            Goal::Fixed => false,
            Goal::Energy(share) => module.candidate(sigma, Dtype::F32).spectrum.rank_for(share).is_some(),
            // It is the next direction that tells.
            _ => rank < sigma.len(),
        }
}

/// What one matrix would get.
fn wanted(spectrum: &Spectrum<'_>, policy: &Policy) -> usize {
    let narrow = spectrum.shape.rows.min(spectrum.shape.cols);
    let (most, held) = (policy.max_rank.min(narrow), spectrum.singular_values.len());
    let rank = policy.goal.rank(spectrum, most);
    // Beyond what is known the goal says only that it is more.
    policy.round(rank.min(held.max(1)).min(most)).min(narrow)
}

fn divided(candidates: &[Candidate<'_>], policy: &Policy, limit: Limit) -> Vec<usize> {
    let mut allocated = vec![Allocation::default(); candidates.len()];
    allocate_best(candidates, policy, limit, &mut allocated);
    allocated.iter().map(|one| one.rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_shapes_beyond_all_is_no_overflow() {
        let module = |side: usize| {
            serde_json::json!({
                "name": "a", "shape": [side, side], "rank": 1, "energy": 0.5, "delta_norm": 3.0, "singular_values": [2.0, 1.0],
                "reads": 1, "converged": true
            })
        };
        let report = serde_json::json!({
            "version": 1, "phlora": "0", "modules": [module(1 << 60), module(1 << 60), module(usize::MAX)],
            "total": {"energy": 0.5, "delta_norm": 3.0, "parameters_in": 12, "parameters_out": 7}, "left_out": [], "seconds": 0.0,
            "bytes_in": 0, "bytes_out": 0
        });
        let report: Report = serde_json::from_value(report).unwrap();
        assert_eq!(choose(&report, &Policy::fixed(4), Dtype::F16).bytes, u64::MAX);
        let budget = Policy { goal: Goal::Budget(u64::MAX), ..Policy::fixed(usize::MAX) };
        assert!(choose(&report, &budget, Dtype::F16).energy.is_finite());
    }
}
