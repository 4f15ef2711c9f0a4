//! What an extraction would write, by headers alone.

use crate::adapter::{AdapterFormat, Factor, Factors};
use crate::error::{Error, Result};
use crate::jobs::extract::job::ExtractJob;
use crate::jobs::extract::module::Module;
use crate::jobs::extract::outcome::Others;
use crate::jobs::extract::plans::{Aim, Planned, plans};
use crate::jobs::extract::survey::Survey;
use crate::jobs::extract::tasks::Task;
use crate::pairing::pairs::{Pair, left_out};
use crate::report::{LeftOut, Measured};
use crate::run::monitor::Monitor;
use phlora_core::policy::factor_dtype;
use phlora_core::{Dtype, Goal, Mode};

/// What an extraction would write at most: modules that turn out to be the same on both sides get no factors.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outline {
    /// Modules that would get factors where they differ, sorted by name.
    pub modules: Vec<OutlinedModule>,
    /// Tensors that are taken whole where they differ.
    pub whole: usize,
    /// Tensors without factors, sorted by name; how much they differ is not known.
    pub left_out: Vec<LeftOut>,
    /// Bytes of the adapter's files, without what is taken whole; absent where the ranks follow from the spectra and
    /// nothing bounds them, and for the compact form without a budget.
    pub bytes: Option<u64>,
    /// Working memory of a thread in bytes.
    pub scratch: u64,
    /// Bytes of the weights that are to be read, both sides, each counted once.
    pub weights: u64,
}

/// A module of an [`Outline`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutlinedModule {
    /// Its path.
    pub name: String,
    /// [out, in].
    pub shape: [usize; 2],
    /// Its rank; with a goal that chooses ranks the largest that it can get.
    pub most_rank: usize,
    /// How its factors would be found.
    pub mode: Mode,
}

impl ExtractJob<'_> {
    /// What [`run`](Self::run) would write, for each rank that it was asked for. Only headers are read.
    ///
    /// # Errors
    /// As [`extract`](Self::extract), but for what only the weights tell.
    pub fn outline(&self, monitor: &Monitor) -> Result<Vec<Outline>> {
        self.surveyed(monitor, |survey, options| match self.several() {
            [] => Ok(vec![outline(survey, None)?]),
            ranks => {
                ranks.iter().map(|&rank| outline(survey, Some(rank.min(options.policy.max_rank)))).collect()
            }
        })
    }
}

fn outline(survey: &Survey<'_>, rank: Option<usize>) -> Result<Outline> {
    let options = survey.options;
    let aim = |pair: &Pair<'_>| match rank {
        Some(rank) => Aim::fixed(pair, options.policy.round(rank)),
        None => Aim::of(pair, &options.policy),
    };
    let aims = survey.pairs().map(|pair| (pair, Some(aim(pair))));
    let plans: Vec<Planned> = plans(aims, options)?.into_iter().flatten().collect();
    let mut modules: Vec<_> =
        survey.pairs().zip(&plans).map(|(pair, planned)| outlined(pair, planned)).collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    if modules.is_empty() {
        return Err(Error::nothing("no module is selected".into()));
    }
    let bounded = options.policy.max_rank < usize::MAX || rank.is_some();
    let bytes = match options.policy.goal {
        Goal::Budget(bytes) => Some(bytes),
        _ if options.format == AdapterFormat::Phlora || !bounded => None,
        _ => Some(length(survey, &plans)?),
    };
    let measured = survey.jobs.iter().filter_map(|(pair, task)| match task {
        Task::Measure { reason, .. } => Some(left_out(pair, reason, None)),
        _ => None,
    });
    let mut left: Vec<_> = survey.one_sided.iter().cloned().chain(measured).collect();
    left.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Outline {
        modules,
        whole: survey.jobs.iter().filter(|(_, task)| matches!(task, Task::Take(_))).count(),
        left_out: left,
        bytes,
        scratch: (plans.iter().map(|plan| plan.memory).max().unwrap_or(0) * size_of::<f32>()) as u64,
        weights: survey.pairs().map(|pair| pair.bytes() as u64).sum(),
    })
}

fn outlined(pair: &Pair<'_>, planned: &Planned) -> OutlinedModule {
    let (name, shape) = (pair.module().to_owned(), shape(pair));
    OutlinedModule { name, shape, most_rank: planned.aim.most, mode: planned.plan.mode() }
}

/// [out, in].
fn shape(pair: &Pair<'_>) -> [usize; 2] {
    let (rows, cols) = pair.stored_shape();
    if pair.transposed { [cols, rows] } else { [rows, cols] }
}

/// Bytes of the adapter with every module at its rank.
fn length(survey: &Survey<'_>, plans: &[Planned]) -> Result<u64> {
    let modules = survey.pairs().zip(plans).map(|(pair, planned)| {
        let [out, input] = shape(pair);
        let rank = planned.aim.most;
        let measured = Measured {
            name: pair.module(),
            shape: [out, input],
            kernel: pair.kernel(),
            singular_values: &[],
            held: rank,
            sum_squares: 1.0,
            reads: 0,
            converged: true,
            expert: pair.expert,
            tuning_and_repair: None,
            weighed: false,
        };
        let factors = Factors {
            a: placeholder([rank, input], survey.options.dtype)?,
            b: placeholder([out, rank], survey.options.dtype)?,
            lost_squares: 0.0,
        };
        Ok(Module::new(pair, measured.report(rank, None), None, Some(factors)))
    });
    let mut modules: Vec<_> = modules.collect::<Result<_>>()?;
    modules.sort_by(|a, b| a.report.name.cmp(&b.report.name));
    let others = Others { full: Vec::new(), left_out: Vec::new() };
    let extraction = survey.extraction(modules, others)?;
    survey.options.format.length(&extraction.output()?)
}

/// A factor of zeros, whose values take no memory.
fn placeholder([rows, cols]: [usize; 2], dtype: Dtype) -> Result<Factor<'static>> {
    let mut factor = Factor::new(Dtype::F32, [1, 1], vec![0; size_of::<f32>()])?;
    factor.resize([rows, cols]);
    factor.set_dtype(factor_dtype(dtype, cols));
    Ok(factor)
}
