//! Bytes divided among modules, so many or as many as it takes to keep a share of all: every module once at a rank that
//! probably suffices, then the choice.

use crate::adapter::AdapterFormat;
use crate::adapter::provenance::POLICY;
use crate::adapter::{Lora, Target};
use crate::error::{Error, Result};
use crate::jobs::extract::extraction::Extraction;
use crate::jobs::extract::module::{Module, replace};
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::outcome::{Keep, Others};
use crate::jobs::extract::plans::{Aim, first_rank};
use crate::jobs::extract::survey::Survey;
use crate::pairing::pairs::Pair;
use crate::report::{LeftOut, PolicyReport};
use phlora_core::policy::{
    Allocation, Candidate, Limit, Totals, allocate, allocate_best, factor_bytes, factor_dtype, uniform_rank,
};
use phlora_core::{Dtype, Goal, Policy, Shape};
use std::collections::BTreeMap;

/// The rank of the first factorisation, as a multiple of the rank that equal bytes for all modules would give.
const FIRST_RANK_TIMES: u64 = 2;

/// Formats that a GGUF adapter may have instead of the one that is given: the nearest of each size.
const CHOSEN: [Dtype; 3] = [Dtype::Q8_0, Dtype::Q5_0, Dtype::Iq4Nl];

/// Added to the share, beyond what rounding lost.
const MORE: f64 = 1e-6;

/// Least rank of the first factorisation.
const LEAST: usize = 16;

/// A rank for each module, in a format.
pub(crate) struct Choice {
    pub(crate) dtype: Dtype,
    /// The rank where it is one for all, but for narrower modules.
    pub(crate) even: Option<usize>,
    pub(crate) ranks: Vec<usize>,
}

/// The storage formats that a budget may choose from; the last one takes the least.
pub(crate) fn dtypes(options: &ExtractOptions) -> Vec<Dtype> {
    let mut dtypes = vec![options.dtype];
    if options.choose_dtype && options.format == AdapterFormat::Gguf {
        dtypes.extend(CHOSEN.iter().filter(|&&dtype| dtype != options.dtype));
    }
    dtypes
}

/// Extracts as far as the policy's goal lets it go: so many bytes of the adapter's files, or a share of the energy of all
/// modules.
pub(crate) fn within_limit(survey: &Survey<'_>) -> Result<Extraction> {
    let policy = survey.options.policy;
    let mut limit = policy.goal.limit().ok_or_else(|| Error::usage("no goal for all modules".into()))?;
    let within = matches!(limit, Limit::Bytes(_));
    let dtypes = if within { dtypes(survey.options) } else { vec![survey.options.dtype] };
    let smallest = dtypes.last().copied().unwrap_or(survey.options.dtype);
    let mut ranks = first_ranks(survey, &policy, limit, smallest);
    let (mut modules, others) =
        survey.run(|pair| Some(Aim::fixed(pair, *ranks.get(pair.name)?)), Keep::Whole, true)?;
    loop {
        let whole = survey.extraction(std::mem::take(&mut modules), others.clone())?;
        // One rank for all may round better, where blocks make some ranks cheap.
        let mut choices = Vec::new();
        for &dtype in &dtypes {
            if within || policy.uniform {
                choices.extend(choose(survey, &whole, &policy, dtype, limit, true)?);
            }
            if !policy.uniform {
                choices.extend(choose(survey, &whole, &policy, dtype, limit, false)?);
            }
        }
        let more: BTreeMap<_, _> =
            choices.iter().flat_map(|choice| larger(survey, &whole, choice, &policy)).collect();
        if more.is_empty() {
            let found = best(survey, &whole, &others, &choices)?;
            let found = found.ok_or_else(|| no_room(survey, &whole, limit))?;
            let Some(higher) = beyond_rounding(&found, &whole, policy.goal, limit) else { return Ok(found) };
            limit = higher;
            modules = whole.modules;
            continue;
        }
        modules = whole.modules;
        let (again, _) =
            survey.run(|pair| Some(Aim::fixed(pair, *more.get(pair.name)?)), Keep::Whole, false)?;
        replace(&mut modules, again);
        ranks.extend(more);
    }
}

/// ‖Δ‖²_F that a module keeps after rounding.
fn kept(module: &Module) -> f64 {
    (module.report.energy - module.report.rounding_loss) * module.report.delta_norm.powi(2)
}

/// Why nothing was chosen.
fn no_room(survey: &Survey<'_>, whole: &Extraction, limit: Limit) -> Error {
    let least = least(survey, whole).map_or_else(|error| error.to_string(), |least| least.to_string());
    Error::usage(match limit {
        Limit::Bytes(bytes) => format!(
            "a budget of {bytes} bytes has no room for a single direction, which takes at least {least} bytes"
        ),
        Limit::Energy(share) => format!("no rank is allowed that would keep any of an energy of {share}"),
    })
}

/// A higher share to choose by, where rounding took what `found` needs for the one that was asked for.
fn beyond_rounding(found: &Extraction, whole: &Extraction, goal: Goal, limit: Limit) -> Option<Limit> {
    let (Goal::TotalEnergy(asked), Limit::Energy(tried)) = (goal, limit) else { return None };
    let kept: f64 = found.modules.iter().map(kept).sum();
    let all: f64 = whole.modules.iter().map(|module| module.report.delta_norm.powi(2)).sum();
    let missing = asked - kept / all;
    // At least twice as far beyond it as before, so that a share out of reach ends soon.
    let more = missing.max(tried - asked) + MORE;
    (missing > 0.0 && tried < 1.0).then(|| Limit::Energy((tried + more).min(1.0)))
}

/// The bytes of the smallest adapter that the policy lets be.
fn least(survey: &Survey<'_>, whole: &Extraction) -> Result<u64> {
    let (policy, dtype) = (&survey.options.policy, survey.options.dtype);
    let rank = policy.allowed.first().copied().unwrap_or(policy.multiple);
    let bytes = |module: &Module| {
        let [rows, cols] = module.report.shape;
        factor_bytes(Shape { rows, cols }, rank, dtype)
    };
    let smallest = whole.modules.iter().map(bytes).enumerate().min_by_key(|(_, bytes)| *bytes);
    let smallest = smallest.map_or(0, |(at, _)| at);
    let ranks: Vec<_> =
        (0..whole.modules.len()).map(|at| if policy.uniform || at == smallest { rank } else { 0 }).collect();
    length(survey, whole, policy, &ranks, None, dtype)
}

/// What a file says of its policy where a budget has come to `rank` for all: as one of that rank, in no more bytes.
fn policy_of(goal: Goal, rank: usize) -> Option<String> {
    matches!(goal, Goal::Budget(_)).then(|| PolicyReport::from(Policy::fixed(rank)).to_string())
}

/// A rank per weight for the first factorisation.
fn first_ranks<'s>(
    survey: &'s Survey<'_>,
    policy: &Policy,
    limit: Limit,
    dtype: Dtype,
) -> BTreeMap<&'s str, usize> {
    let Limit::Bytes(bytes) = limit else {
        let first = |pair: &Pair<'_>| policy.round(first_rank(pair, policy.max_rank));
        return survey.pairs().map(|pair| (pair.name, first(pair))).collect();
    };
    let block = dtype.block_len();
    let per_block: u64 = survey.pairs().map(|pair| factor_bytes(shape(pair), block, dtype)).sum();
    let per_rank = per_block / block as u64;
    let even = usize::try_from(FIRST_RANK_TIMES * bytes / per_rank.max(1)).unwrap_or(usize::MAX);
    let rank = policy.round(even.clamp(LEAST, policy.max_rank.max(LEAST)));
    survey.pairs().map(|pair| (pair.name, rank)).collect()
}

fn shape(pair: &Pair<'_>) -> Shape {
    let (rows, cols) = pair.stored_shape();
    Shape { rows, cols }
}

/// The best ranks in one format, or the best rank for all; `None` where there is no room for any.
pub(crate) fn choose(
    survey: &Survey<'_>,
    whole: &Extraction,
    policy: &Policy,
    dtype: Dtype,
    limit: Limit,
    even: bool,
) -> Result<Option<Choice>> {
    let candidates: Vec<_> = whole
        .modules
        .iter()
        .map(|module| module.report.candidate(&module.report.singular_values, dtype))
        .collect();
    // Names, headers and padding come on top of the factors and depend a little on the ranks.
    let mut left = limit;
    loop {
        let (ranks, even) = ranks(&candidates, policy, left, even);
        if ranks.iter().all(|&rank| rank == 0) {
            return Ok(None);
        }
        let (Limit::Bytes(bytes), Limit::Bytes(rest)) = (limit, &mut left) else {
            return Ok(Some(Choice { dtype, even, ranks }));
        };
        let size = length(survey, whole, policy, &ranks, even, dtype)?;
        if size <= bytes {
            return Ok(Some(Choice { dtype, even, ranks }));
        }
        *rest = rest.saturating_sub(size - bytes);
    }
}

/// Ranks whose factors keep to `limit`: the greedy choice, or one rank for all. Of a share of the energy the better of the two,
/// since there is one size of what is chosen.
fn ranks(
    candidates: &[Candidate<'_>],
    policy: &Policy,
    limit: Limit,
    even: bool,
) -> (Vec<usize>, Option<usize>) {
    if even {
        let rank = uniform_rank(candidates, policy, policy.known_rank(candidates), limit);
        let of = |one: &Candidate<'_>| policy.even_rank(one.spectrum.shape, rank);
        return (candidates.iter().map(of).collect(), Some(rank));
    }
    let mut allocated = vec![Allocation::default(); candidates.len()];
    let even = match limit {
        Limit::Energy(_) => allocate_best(candidates, policy, limit, &mut allocated),
        Limit::Bytes(_) => {
            allocate(candidates, policy, limit, &mut allocated);
            None
        }
    };
    (allocated.iter().map(|one| one.rank).collect(), even)
}

/// Bytes of the files of the adapter at `ranks`; `even`, where that is one rank for all.
pub(crate) fn length(
    survey: &Survey<'_>,
    whole: &Extraction,
    policy: &Policy,
    ranks: &[usize],
    even: Option<usize>,
    dtype: Dtype,
) -> Result<u64> {
    let mut draft = draft(survey, whole, ranks, dtype);
    if let Some(text) = even.and_then(|rank| policy_of(policy.goal, rank)) {
        draft.metadata.insert(POLICY.to_owned(), text);
    }
    whole.format.length(&whole.renamed(if policy.uniform { draft.padded() } else { draft })?)
}

/// The adapter at `ranks`, as it will be written; nothing is encoded for it.
fn draft<'w>(survey: &Survey<'_>, whole: &'w Extraction, ranks: &[usize], dtype: Dtype) -> Lora<'w> {
    let mut lora = whole.drafted();
    let mut ranks = ranks.iter();
    lora.modules.retain_mut(|module| {
        let rank = *ranks.next().unwrap_or(&0);
        let [out, input] = module.shape();
        module.a.resize([rank, input]);
        module.b.resize([out, rank]);
        module.a.set_dtype(factor_dtype(dtype, input));
        module.b.set_dtype(factor_dtype(dtype, rank));
        rank > 0
    });
    let modules = lora.modules.iter().filter(|module| module.target == Target::Module);
    lora.targets = Some(survey.targets(modules.map(|module| module.name.as_ref())));
    lora
}

/// Larger ranks to factorise where the choice took all that there was.
fn larger<'s>(
    survey: &'s Survey<'_>,
    whole: &Extraction,
    choice: &Choice,
    policy: &Policy,
) -> BTreeMap<&'s str, usize> {
    let chosen: BTreeMap<_, _> = whole
        .modules
        .iter()
        .zip(&choice.ranks)
        .map(|(module, &rank)| (module.report.name.as_str(), (rank, module.report.singular_values.len())))
        .collect();
    let more = |pair: &'s Pair<'_>| {
        let &(rank, held) = chosen.get(pair.module())?;
        let Shape { rows, cols } = shape(pair);
        let most = rows.min(cols).min(policy.max_rank);
        // The next step may be a whole multiple, or a whole block.
        let step = policy.multiple.max(choice.dtype.block_len());
        let short = rank.saturating_add(step) > held && held < most;
        short.then(|| (pair.name, policy.round(2 * held).min(most)))
    };
    survey.pairs().filter_map(more).collect()
}

/// The best choice, after rounding.
fn best(
    survey: &Survey<'_>,
    whole: &Extraction,
    others: &Others,
    choices: &[Choice],
) -> Result<Option<Extraction>> {
    let by = survey.options.policy.by;
    let all: f64 = whole.modules.iter().map(|module| module.report.delta_norm.powi(2)).sum();
    // One encoded adapter at a time.
    let mut totals = Vec::new();
    for choice in choices {
        let extraction = finish(survey, whole, others.clone(), choice)?;
        // Of what the directions are worth, the share that rounding leaves of their energy.
        let worth = |module: &Module| {
            let report = &module.report;
            let candidate = report.candidate(&report.singular_values, choice.dtype);
            let exact: f64 = (0..report.rank).map(|at| candidate.worth(by, at)).sum();
            exact * (report.energy - report.rounding_loss).max(0.0) / report.energy
        };
        let kept: f64 = extraction.modules.iter().map(kept).sum();
        let lost = if all > 0.0 { 1.0 - kept / all } else { 0.0 };
        let worth = extraction.modules.iter().map(worth).sum();
        totals.push(Totals { worth, lost, even: choice.even.is_some() });
    }
    let best = by.best(&totals).and_then(|at| choices.get(at));
    best.map(|choice| finish(survey, whole, others.clone(), choice)).transpose()
}

/// Cuts every module to its rank.
fn finish(
    survey: &Survey<'_>,
    whole: &Extraction,
    mut others: Others,
    choice: &Choice,
) -> Result<Extraction> {
    let reason = match survey.options.policy.goal {
        Goal::TotalEnergy(_) => "total energy: the others keep it",
        _ => "budget: its bytes keep more elsewhere",
    };
    let mut modules = Vec::<Module>::new();
    for (module, &rank) in whole.modules.iter().zip(&choice.ranks) {
        if rank == 0 {
            others.left_out.push(LeftOut {
                name: format!("{}.weight", module.report.name),
                reason: reason.into(),
                delta_norm: Some(module.report.delta_norm),
                weight_norm: module.report.weight_norm,
            });
        } else {
            modules.push(module.cut(rank, choice.dtype)?);
        }
    }
    let said = choice.even.and_then(|rank| policy_of(survey.options.policy.goal, rank));
    Ok(Extraction { dtype: choice.dtype, said, ..survey.extraction(modules, others)? })
}
