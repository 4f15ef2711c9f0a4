//! The extraction of a whole pair: from the options to an adapter in memory, and to its files.

mod also;
mod budget;
mod channels;
mod compact;
mod extraction;
mod full;
mod identity;
mod includes;
mod layers;
mod options;
mod outcome;
mod output;
mod parts;
mod pass;
mod plans;
mod record;
mod renaming;
mod rounds;
mod serving;
mod survey;
mod tasks;

pub use also::{Also, Layers, Tokens};
pub use channels::ChannelScales;
pub use extraction::Extraction;
pub use options::{ExtractOptions, Filter};
pub use output::{Output, save, save_page, save_report};
pub use parts::{Identity, PartHeader, Parts, Shard, Work};
pub use serving::Server;

pub(crate) use outcome::Keep;
use outcome::Module;
pub(crate) use plans::Aim;
pub(crate) use survey::Survey;

use crate::adapter::AdapterFormat;
use crate::error::Result;
use crate::pairing::aligned::{Aligned, Names};
use crate::run::monitor::Monitor;
use crate::source::model::Model;
use phlora_core::{Goal, Policy};

/// Finds the factors of every module in `options.filter` that differs between `base` and `tuned`, at the ranks
/// that `options.policy` gives them.
///
/// The result does not depend on `threads` or `block_bytes`, not in a single bit. Peak heap is at most
/// threads × scratch (the largest need of a module, at most `options.scratch`) plus the encoded factors,
/// and 1 MiB per thread and side whose rows are in another order than those of the other; with
/// [`Goal::Budget`] plus f32 factors of up to some times the budget.
///
/// # Errors
/// [`Error::NothingToExtract`](crate::Error::NothingToExtract) when no selected module differs; else what the two models or the options
/// have wrong, with file and tensor.
pub fn extract(
    base: &Model,
    tuned: &Model,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Extraction> {
    extract_from(&aligned(base, tuned, None, options)?, options, monitor)
}

/// As [`extract`], but for a device that runs `deployed`, mostly a quantised `base`: the factors are those of
/// `tuned` − `deployed`, so that they repair the quantisation as well. `base` is only measured: the report says
/// how much of the difference is fine-tuning and how much is repair.
///
/// # Errors
/// As [`extract`].
pub fn extract_deployed(
    base: &Model,
    tuned: &Model,
    deployed: &Model,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Extraction> {
    extract_from(&aligned(base, tuned, Some(deployed), options)?, options, monitor)
}

fn extract_from(models: &Aligned<'_>, options: &ExtractOptions, monitor: &Monitor) -> Result<Extraction> {
    let survey = Survey::new(models, options, monitor)?;
    if options.format == AdapterFormat::Phlora {
        return compact::extract(&survey);
    }
    match options.policy.goal {
        Goal::Budget(bytes) => budget::share_out(&survey, bytes),
        Goal::Energy(_) | Goal::NoiseFloor if options.policy.uniform => survey.one_rank_for_all(),
        _ => {
            let keep = Keep::Encoded(options.dtype);
            let (modules, others) = survey.run(|pair| Some(Aim::of(pair, &options.policy)), keep, true)?;
            survey.extraction(modules, others)
        }
    }
}

/// With what a device runs in the place of `base`, where that is another model.
pub(crate) fn aligned<'m>(
    base: &'m Model,
    tuned: &'m Model,
    deployed: Option<&'m Model>,
    options: &ExtractOptions,
) -> Result<Aligned<'m>> {
    let names = if options.format.is_like_peft() { options.names } else { Names::Checkpoint };
    match deployed {
        None => Aligned::new(base, tuned, None, names),
        Some(deployed) => Aligned::new(deployed, tuned, Some(base), names),
    }
}

/// As [`extract`], or [`extract_deployed`], with one rank for all modules, for several `ranks` and with one
/// factorisation: an adapter for each, in their order. The heap holds f32 factors of the largest.
///
/// # Errors
/// As [`extract`]; `ranks` must not be empty.
pub fn extract_ranks(
    base: &Model,
    tuned: &Model,
    deployed: Option<&Model>,
    ranks: &[usize],
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Vec<Extraction>> {
    let most = ranks.iter().copied().max().unwrap_or(0);
    let policy = Policy { max_rank: most, ..options.policy };
    let options = ExtractOptions { policy, ..options.clone() };
    let models = aligned(base, tuned, deployed, &options)?;
    let survey = Survey::new(&models, &options, monitor)?;
    let (modules, others) = survey.run(|pair| Some(Aim::of(pair, &policy)), Keep::Whole, true)?;
    let one = |&rank: &usize| {
        let policy = Policy { max_rank: rank, ..policy };
        survey::check(&policy)?;
        let cut = |module: &Module| match options.format {
            AdapterFormat::Phlora => module.compact(&vec![compact::BITS; policy.round(rank)]),
            _ => module.cut_to(policy.round(rank), options.dtype),
        };
        let modules: Result<_> = modules.iter().map(cut).collect();
        Ok(Extraction { policy, ..survey.extraction(modules?, others.clone())? })
    };
    ranks.iter().map(one).collect()
}
