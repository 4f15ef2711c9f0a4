//! The extraction of a whole pair, and what comes of it: an adapter in memory and its report.

use crate::aligned::{Aligned, Names};
use crate::budget;
use crate::curve::energy_by_bytes;
use crate::error::Result;
use crate::full::Full;
use crate::lora::{AdapterFormat, Lora, LoraModule, Naming, OUT_PROJ, Spelling, Target};
use crate::model::Model;
use crate::monitor::Monitor;
use crate::options::ExtractOptions;
use crate::outcome::{Keep, Module};
use crate::pairs::Pair;
use crate::plans::Aim;
use crate::renaming::Renaming;
use crate::report::{LeftOut, ModuleReport, REPORT_VERSION, Report, Total};
use crate::survey::{Survey, check};
use phlora_core::{Dtype, Goal, Policy};
use std::sync::Arc;
use std::time::Instant;

/// ‖Δ‖/‖W‖ above which two models are hardly a pair: weights that have nothing to do with each other have about 1.4.
const IMPLAUSIBLE: f64 = 0.9;

/// An adapter in memory, ready to be saved, and what is to be reported about it.
#[derive(Debug)]
pub struct Extraction {
    pub(crate) modules: Vec<Module>,
    /// What is stored beside their factors.
    pub(crate) full: Vec<Arc<Full>>,
    /// Modules with factors whose bias could not be changed, since there is none, while those of others are.
    pub(crate) without_bias: usize,
    /// How the models were paired.
    pub(crate) notes: Vec<String>,
    pub(crate) left_out: Vec<LeftOut>,
    /// Modules that get factors of zeros, with [out, in] of their weights.
    pub(crate) empty: Vec<(String, [usize; 2])>,
    pub(crate) format: AdapterFormat,
    /// How the modules are called in the adapter.
    pub(crate) names: Renaming,
    /// Experts of a layer; 0: not known.
    pub(crate) experts: usize,
    pub(crate) targets: Vec<String>,
    pub(crate) base_name: String,
    /// As [`Lora::architecture`].
    pub(crate) architecture: Option<String>,
    pub(crate) naming: Naming,
    pub(crate) spelling: Spelling,
    /// PEFT's task type.
    pub(crate) task: Option<&'static str>,
    pub(crate) policy: Policy,
    pub(crate) dtype: Dtype,
    pub(crate) started: Instant,
    pub(crate) bytes_in: u64,
}

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
fn aligned<'m>(
    base: &'m Model,
    tuned: &'m Model,
    deployed: Option<&'m Model>,
    options: &ExtractOptions,
) -> Result<Aligned<'m>> {
    let names = if options.format == AdapterFormat::Peft { options.names } else { Names::Checkpoint };
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
        check(&policy)?;
        let modules: Result<_> =
            modules.iter().map(|module| module.cut_to(policy.round(rank), options.dtype)).collect();
        Ok(Extraction { policy, ..survey.extraction(modules?, others.clone())? })
    };
    ranks.iter().map(one).collect()
}

/// Reads both models as [`extract`] does and reports the spectra, without factors: every module as it would be at
/// the policy's largest rank.
///
/// # Errors
/// As [`extract`].
pub fn survey(
    base: &Model,
    tuned: &Model,
    deployed: Option<&Model>,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Report> {
    let models = aligned(base, tuned, deployed, options)?;
    let survey = Survey::new(&models, options, monitor)?;
    let aim = |pair: &Pair<'_>| Some(Aim::fixed(pair, options.policy.round(options.policy.max_rank)));
    let (modules, others) = survey.run(aim, Keep::Spectrum(options.dtype), true)?;
    Ok(survey.extraction(modules, others)?.report(0))
}

impl Extraction {
    /// The adapter's rank: the largest of its modules' ranks. Where the policy is uniform the others are padded
    /// to it with zeros.
    pub fn rank(&self) -> usize {
        self.modules.iter().map(|module| module.report.rank).max().unwrap_or(0)
    }

    /// What is to be known before it is used.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(self.implausible());
        if self.without_bias > 0 {
            notes.push(format!(
                "PEFT runs this adapter but does not merge it: {} of its modules have no bias to merge one into; phlora \
                 merge does",
                self.without_bias
            ));
        }
        let halved = |module: &&Module| module.target == Target::Attention && module.path.ends_with(OUT_PROJ);
        let halved = self.modules.iter().filter(halved).count();
        if halved > 0 {
            notes.push(format!(
                "{halved} output projections of torch's attention are stored at half, since PEFT as far as 0.21.2 adds them \
                 twice (its pull request 3774): a PEFT that adds them once applies half of them"
            ));
        }
        notes
    }

    /// Says so where the two models differ more than fine-tuning makes them.
    fn implausible(&self) -> Option<String> {
        let reports = || self.modules.iter().map(|module| &module.report).filter(|report| !report.weighed);
        let weights: f64 = reports().filter_map(|report| report.weight_norm).map(|norm| norm * norm).sum();
        let delta: f64 = reports().map(|report| report.delta_norm.powi(2)).sum();
        let ratio = (delta / weights).sqrt();
        (ratio > IMPLAUSIBLE).then(|| {
            format!(
                "the difference is {:.0} % of the base's weights, of which fine-tuning changes a few per cent: are the two \
                 models a pair?",
                100.0 * ratio
            )
        })
    }

    /// The adapter, each module at its own rank, or all at one where the policy is uniform.
    pub fn lora(&self) -> Lora<'_> {
        let mut lora = self.own_ranks();
        lora.modules
            .extend(self.empty.iter().filter_map(|(name, shape)| LoraModule::zero(name, *shape, self.dtype)));
        if self.policy.uniform { lora.padded() } else { lora }
    }

    /// The adapter, each module at the rank of its factors.
    pub(crate) fn own_ranks(&self) -> Lora<'_> {
        let modules = self.modules.iter().filter_map(|module| {
            let factors = module.factors.as_ref()?;
            Some(LoraModule {
                expert: module.report.expert,
                target: module.target,
                embedding: module.embedding,
                kernel: module.report.kernel.clone(),
                ..LoraModule::new(module.path.as_str(), factors.a.view(), factors.b.view())
            })
        });
        Lora {
            modules: modules.collect(),
            full: self.full.iter().map(|full| full.tensor.view()).collect(),
            naming: self.naming,
            base_name: Some(self.base_name.clone()),
            architecture: self.architecture.clone(),
            task: self.task.map(str::to_owned),
            targets: Some(self.targets.clone()),
            fan_in_fan_out: self.modules.iter().any(|module| module.conv1d),
            spelling: self.spelling.clone(),
        }
    }

    /// The adapter as its file will have it: named for that, and of one rank where the policy and PEFT's format ask for
    /// it.
    pub(crate) fn output(&self) -> Result<Lora<'_>> {
        self.renamed(self.lora())
    }

    /// `lora`, made of this extraction, under the names of its file.
    pub(crate) fn renamed<'l>(&self, lora: Lora<'l>) -> Result<Lora<'l>> {
        self.names.apply(lora, self.format, self.experts)
    }

    /// What is to be said about it; its files take `bytes_out`.
    pub(crate) fn report(&self, bytes_out: u64) -> Report {
        let modules: Vec<_> = self.modules.iter().map(|module| module.report.clone()).collect();
        Report {
            version: REPORT_VERSION,
            phlora: env!("CARGO_PKG_VERSION").to_owned(),
            policy: Some(self.policy.into()),
            dtype: self.dtype.name().to_ascii_lowercase(),
            curve: energy_by_bytes(&modules, self.dtype, self.policy.by),
            modules,
            full: self.full.iter().map(|full| full.report.clone()).collect(),
            total: self.total(),
            left_out: self.left_out.clone(),
            seconds: self.started.elapsed().as_secs_f64(),
            bytes_in: self.bytes_in,
            bytes_out,
            notes: self.notes(),
        }
    }

    /// Sums over the modules.
    pub fn total(&self) -> Total {
        let reports = || self.modules.iter().map(|module| &module.report);
        let sides = |module: &ModuleReport| (module.shape[0] + module.shape[1]) as u64;
        let rank = |module: &ModuleReport| if self.policy.uniform { self.rank() } else { module.rank };
        let total = Total::of(reports(), reports().map(|module| sides(module) * rank(module) as u64).sum());
        total.of_whole(reports(), self.full.iter().map(|full| &full.report), &self.left_out)
    }
}
