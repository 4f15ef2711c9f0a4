//! The extraction of a whole pair: plans first, then modules over threads, largest first.

use crate::aligned::Aligned;
use crate::error::{Error, Result};
use crate::lora::{Lora, LoraModule, Naming};
use crate::model::Model;
use crate::monitor::Monitor;
use crate::options::ExtractOptions;
use crate::outcome::{Module, Outcome, extract_pair, measure, reserve};
use crate::pairs::{Task, decide, targets};
use crate::plans::{plans, read_bytes};
use crate::pool::{Ticket, run};
use crate::report::{LeftOut, Total};
use std::collections::BTreeSet;
use std::time::Instant;

/// An adapter in memory, ready to be saved, and what is to be reported about it.
#[derive(Debug)]
pub struct Extraction {
    pub(crate) modules: Vec<Module>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) targets: Vec<String>,
    pub(crate) base_name: String,
    /// `model_type` of the base, or `general.architecture`.
    pub(crate) architecture: Option<String>,
    pub(crate) naming: Naming,
    pub(crate) causal: bool,
    pub(crate) started: Instant,
    pub(crate) bytes_in: u64,
}

/// Finds the factors of every module in `options.filter` that differs between `base` and `tuned`.
///
/// The result does not depend on `threads` or `block_bytes`, not in a single bit. Peak heap is at most
/// threads × scratch (the largest need of a module, at most `options.scratch`) plus the encoded factors,
/// and 1 MiB per thread and side whose rows are in another order than those of the other.
///
/// # Errors
/// [`Error::NothingToExtract`] when no selected module differs; else what the two models or the options
/// have wrong, with file and tensor.
pub fn extract(
    base: &Model,
    tuned: &Model,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Extraction> {
    extract_from(&Aligned::new(base, tuned, None)?, options, monitor)
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
    extract_from(&Aligned::new(deployed, tuned, Some(base))?, options, monitor)
}

fn extract_from(models: &Aligned<'_>, options: &ExtractOptions, monitor: &Monitor) -> Result<Extraction> {
    let started = Instant::now();
    if options.rank == 0 {
        return Err(Error::Usage("the rank is 0, expected at least 1".into()));
    }
    let pairing = decide(models, &options.filter)?;
    let mut jobs = pairing.jobs;
    // Largest first, so that no large one is left to a single thread at the end.
    jobs.sort_by_key(|(pair, _)| (std::cmp::Reverse(pair.bytes()), pair.name));
    let plans = plans(&jobs, options)?;
    let memory = plans.iter().flatten().map(|plan| plan.memory).max().unwrap_or(0);
    for ((pair, _), plan) in jobs.iter().zip(&plans) {
        let reads = plan.as_ref().map_or(1, |plan| plan.expected_reads);
        monitor.correct_total(0, read_bytes(pair, reads));
    }

    // While one job is computed, the disk already reads the one that this thread will probably take next.
    let read_ahead = |job: usize| {
        for side in jobs.get(job).into_iter().flat_map(|(pair, _)| [pair.base, pair.tuned]) {
            side.will_need();
        }
    };
    let threads = options.threads.get();
    let work = |buffer: &mut Vec<f32>, ticket: Ticket<'_>| {
        let (pair, task) = &jobs[ticket.job()];
        if ticket.job() < threads {
            read_ahead(ticket.job());
        }
        read_ahead(ticket.job().saturating_add(threads));
        match (task, &plans[ticket.job()]) {
            (Task::Measure { reason, entries, strict }, _) => {
                measure(pair, reason, *entries, *strict, ticket).map(Outcome::LeftOut)
            }
            (Task::Extract, Some(planned)) => {
                reserve(buffer, memory)?;
                extract_pair(pair, planned, buffer, options, ticket)
            }
            (Task::Extract, None) => Err(Error::Usage("no plan".into())),
        }
    };
    let outcomes = run(threads, jobs.len(), monitor, Vec::new, work)?;
    monitor.check()?;

    let (mut modules, mut left_out) = (Vec::new(), pairing.one_sided);
    for outcome in outcomes {
        match outcome {
            Outcome::Module(module) => modules.push(*module),
            Outcome::LeftOut(tensor) => left_out.push(tensor),
        }
    }
    modules.sort_by(|a, b| a.report.name.cmp(&b.report.name));
    left_out.sort_by(|a, b| a.name.cmp(&b.name));
    if modules.is_empty() {
        return Err(nothing(&left_out));
    }
    let names: BTreeSet<_> = modules.iter().map(|module| module.report.name.as_str()).collect();
    let targets = targets(&names, models);
    let base = models.origin.as_ref().unwrap_or(&models.base).model;
    let config = base.config();
    Ok(Extraction {
        modules,
        left_out,
        targets,
        base_name: config.name_or_path.clone().unwrap_or_else(|| base.path().display().to_string()),
        architecture: base.architecture().map(str::to_owned),
        naming: models.naming(),
        causal: config.is_causal(),
        started,
        bytes_in: monitor.done(),
    })
}

impl Extraction {
    /// The adapter's rank: the largest of its modules' ranks, to which the others are padded with zeros.
    pub fn rank(&self) -> usize {
        self.modules.iter().map(|module| module.factors.rank()).max().unwrap_or(0)
    }

    /// The adapter, each module at its own rank.
    pub fn lora(&self) -> Lora<'_> {
        let modules = self.modules.iter().map(|module| LoraModule {
            name: module.report.name.as_str().into(),
            a: module.factors.a.view(),
            b: module.factors.b.view(),
            scale: 1.0,
            experts: None,
            embedding: false,
        });
        Lora {
            modules: modules.collect(),
            naming: self.naming,
            base_name: Some(self.base_name.clone()),
            architecture: self.architecture.clone(),
            task: self.causal.then(|| "CAUSAL_LM".to_owned()),
            targets: Some(self.targets.clone()),
            fan_in_fan_out: self.modules.iter().any(|module| module.transposed),
        }
    }

    /// Sums over the modules.
    pub fn total(&self) -> Total {
        let reports = || self.modules.iter().map(|module| &module.report);
        let sides: u64 = reports().map(|module| (module.shape[0] + module.shape[1]) as u64).sum();
        Total::of(reports(), sides * self.rank() as u64)
    }
}

/// Why there is nothing: all alike, or only what is not extracted differs.
fn nothing(left_out: &[LeftOut]) -> Error {
    let mut groups = std::collections::BTreeMap::<&str, usize>::new();
    for tensor in left_out.iter().filter(|tensor| tensor.group() != "unchanged") {
        *groups.entry(tensor.group()).or_default() += 1;
    }
    if groups.is_empty() {
        return Error::NothingToExtract(format!("all {} tensors are the same on both sides", left_out.len()));
    }
    let list: Vec<_> = groups.iter().map(|(group, count)| format!("{group} ({count})")).collect();
    Error::NothingToExtract(format!("no selected linear layer differs; left out: {}", list.join(", ")))
}
