//! The one way from two models to adapters: in memory, or in files.

use crate::adapter::AdapterFormat;
use crate::error::{Error, Result};
use crate::jobs::extract::budget;
use crate::jobs::extract::compact;
use crate::jobs::extract::extraction::Extraction;
use crate::jobs::extract::input::{Input, Models, Open};
use crate::jobs::extract::module::Module;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::outcome::Keep;
use crate::jobs::extract::output::{Output, Staged};
use crate::jobs::extract::part_files::{Identity, Journals, Work};
use crate::jobs::extract::plans::Aim;
use crate::jobs::extract::survey::{Survey, check};
use crate::report::Report;
use crate::run::monitor::Monitor;
use crate::source::model::Model;
use phlora_core::{Goal, Policy};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// An extraction: the models, the options, and one or several ranks.
///
/// ```no_run
/// use phlora::{ExtractJob, Monitor, Output};
///
/// let job = ExtractJob::new("base", "tuned").ranks(&[8, 32]);
/// for saved in job.run(&Output::new("adapter"), &Monitor::default())? {
///     println!("{}: {} bytes", saved.path.display(), saved.report.bytes_out);
/// }
/// # Ok::<(), phlora::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ExtractJob<'m> {
    base: Input<'m>,
    tuned: Input<'m>,
    deployed: Option<Input<'m>>,
    ranks: Vec<usize>,
    part_files: Option<PartFiles>,
    pub(super) options: ExtractOptions,
}

/// Files in which what becomes of each pair of weights is kept, so that an extraction can be interrupted, or done in
/// shards.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PartFiles {
    /// Which pairs are worked on.
    pub work: Work,
    /// The file to which what becomes of them is added; it is removed when the adapter is in its place. `None`: none.
    pub own: Option<PathBuf>,
    /// Files that are only read.
    pub others: Vec<PathBuf>,
    /// How the extraction was asked for, which a new file keeps.
    pub command: Vec<String>,
    /// Whether what `own` holds already is thrown away.
    pub fresh: bool,
}

/// An adapter that was written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// What is to be said about it.
    pub report: Report,
}

impl<'m> ExtractJob<'m> {
    /// The difference of `base` and `tuned`, with the default options.
    pub fn new(base: impl Into<Input<'m>>, tuned: impl Into<Input<'m>>) -> Self {
        let (base, tuned) = (base.into(), tuned.into());
        let options = ExtractOptions::default();
        Self { base, tuned, deployed: None, ranks: Vec::new(), part_files: None, options }
    }

    /// What a device runs in the place of the base, mostly a quantised one. The factors are those of tuned − deployed, so
    /// that they repair the quantisation as well. The base is only measured: the report says how much of the difference
    /// is fine-tuning and how much is repair.
    #[must_use]
    pub fn deployed_base(self, deployed: impl Into<Input<'m>>) -> Self {
        Self { deployed: Some(deployed.into()), ..self }
    }

    /// The options.
    #[must_use]
    pub fn options(self, options: ExtractOptions) -> Self {
        Self { options, ..self }
    }

    /// Several adapters with one factorisation, each of one rank for all modules; these take the place of the
    /// `max_rank` of the policy. The heap holds f32 factors of the largest. None, the default: one adapter.
    #[must_use]
    pub fn ranks(self, ranks: &[usize]) -> Self {
        Self { ranks: ranks.to_vec(), ..self }
    }

    /// Part files, which keep what becomes of each pair. None by default.
    #[must_use]
    pub fn part_files(self, files: PartFiles) -> Self {
        Self { part_files: Some(files), ..self }
    }

    /// Extracts to memory: an adapter for each rank, in their order, or one.
    ///
    /// # Errors
    /// As [`extract`], and as [`Model::open`].
    pub fn extract(&self, monitor: &Monitor) -> Result<Vec<Extraction>> {
        self.extract_from(&self.open()?, monitor)
    }

    /// Extracts to files. With several ranks their outputs are named `PATH-r8` for rank 8, and their reports
    /// `REPORT-r8.json`. All are complete before the first appears in its place.
    ///
    /// # Errors
    /// As [`extract`](Self::extract) and [`save`](crate::save); what the output has wrong is said before any model is
    /// read. Nothing is left behind.
    pub fn run(&self, output: &Output, monitor: &Monitor) -> Result<Vec<Saved>> {
        let outputs = self.outputs(output, monitor)?;
        let models = self.open()?;
        models.check_apart(&outputs, self.options.format)?;
        let extractions = self.extract_from(&models, monitor)?;
        thread::scope(|scope| {
            // Unmapping gigabytes takes as long as writing an adapter. Where there is no thread for it, it happens here.
            let _ = thread::Builder::new().spawn_scoped(scope, move || drop(models));
            self.write(&extractions, outputs, monitor)
        })
    }

    /// Works on a shard and keeps what becomes of its pairs in the own part file of [`part_files`](Self::part_files); no adapter is made.
    ///
    /// # Errors
    /// [`Error::Unfinished`] where pairs are in no part file yet, which is so until the last shard is done; else as
    /// [`extract`](Self::extract).
    pub fn keep_shard(&self, monitor: &Monitor) -> Result<()> {
        let models = self.open()?;
        if let Some(own) = self.own_part_file() {
            models.check_apart(&[Output::new(own)], self.options.format)?;
        }
        self.extract_from(&models, monitor).map(drop)
    }

    /// The same, which measures ‖W‖ of every weight.
    pub(crate) fn measured(&self) -> Self {
        let mut job = self.clone();
        job.options.measured_norms = true;
        job
    }

    /// Lets `work` see the models of the job side by side, with its options.
    pub(crate) fn surveyed<T>(
        &self,
        monitor: &Monitor,
        work: impl FnOnce(&Survey<'_>, &ExtractOptions) -> Result<T>,
    ) -> Result<T> {
        let models = self.open()?;
        work(&Survey::new(&models.aligned(&self.options)?, &self.options, monitor)?, &self.options)
    }

    /// The ranks of several adapters; empty: one.
    pub(super) fn several(&self) -> &[usize] {
        &self.ranks
    }

    pub(super) fn open(&self) -> Result<Models<'_>> {
        let (base, tuned) = (self.base.open()?, self.tuned.open()?);
        Ok(Models { base, tuned, deployed: self.deployed.as_ref().map(Input::open).transpose()? })
    }

    fn own_part_file(&self) -> Option<&Path> {
        self.part_files.as_ref()?.own.as_deref()
    }

    /// The part files of the extraction, if there are any.
    fn open_journals(&self, models: &Models<'_>) -> Result<Option<Arc<Journals>>> {
        let Some(PartFiles { work, own, others, command, fresh }) = &self.part_files else { return Ok(None) };
        if own.is_none() && *work != Work::None {
            return Ok(None);
        }
        let identity = Identity::of(&models.all().collect::<Vec<_>>(), &self.ranks, &self.options);
        Journals::open(own.as_deref(), others, *work, identity, command.clone(), *fresh)
            .map(Arc::new)
            .map(Some)
    }

    /// The options with the part files, and with the rank that all ranks are cut from.
    pub(super) fn prepared(&self, models: &Models<'_>) -> Result<ExtractOptions> {
        let mut options = ExtractOptions { journals: self.open_journals(models)?, ..self.options.clone() };
        options.policy.max_rank = self.ranks.iter().copied().max().unwrap_or(options.policy.max_rank);
        Ok(options)
    }

    fn extract_from(&self, models: &Models<'_>, monitor: &Monitor) -> Result<Vec<Extraction>> {
        let options = self.prepared(models)?;
        self.extractions(&Survey::new(&models.aligned(&options)?, &options, monitor)?)
    }

    pub(super) fn extractions(&self, survey: &Survey<'_>) -> Result<Vec<Extraction>> {
        match self.ranks.as_slice() {
            [] => Ok(vec![one(survey)?]),
            ranks => several(survey, ranks),
        }
    }

    /// Where the adapters go.
    pub(super) fn outputs(&self, output: &Output, monitor: &Monitor) -> Result<Vec<Output>> {
        let outputs = match self.ranks.as_slice() {
            [] => vec![output.clone()],
            ranks => ranks.iter().map(|&rank| output.at_rank(rank)).collect(),
        };
        outputs.iter().try_for_each(|output| output.check(self.options.format, monitor))?;
        Ok(outputs)
    }

    /// Writes the adapters; all are complete before the first appears in its place.
    pub(super) fn write(
        &self,
        extractions: &[Extraction],
        outputs: Vec<Output>,
        monitor: &Monitor,
    ) -> Result<Vec<Saved>> {
        monitor.begin_writing()?;
        let pairs = extractions.iter().zip(&outputs);
        let staged = pairs.map(|(extraction, output)| Staged::write(extraction, output, monitor));
        let staged: Vec<_> = staged.collect::<Result<_>>()?;
        let saved = staged.into_iter().zip(outputs);
        let saved = saved.map(|(staged, output)| Ok(Saved { path: output.path, report: staged.commit()? }));
        let saved: Vec<_> = saved.collect::<Result<_>>()?;
        if let Some(own) = self.own_part_file() {
            fs::remove_file(own).map_err(|e| Error::io(own, "remove", e))?;
        }
        Ok(saved)
    }
}

/// Finds the factors of every module in `options.filter` that differs between `base` and `tuned`, at the ranks
/// that `options.policy` gives them. [`ExtractJob`] does the same with files, a deployed base, and several ranks.
///
/// The result does not depend on `threads` or `chunk_bytes`, not in a single bit. Peak heap is at most
/// threads × scratch (the largest need of a module, at most `options.scratch`) plus the encoded factors,
/// and 1 MiB per thread and side whose rows are in another order than those of the other or are quantised; with
/// [`Goal::Budget`] and [`Goal::TotalEnergy`] plus f32 factors of up to some times the adapter.
///
/// # Errors
/// [`Error::NothingToExtract`](crate::Error::NothingToExtract) when no selected module differs; else what the two models
/// or the options have wrong, with file and tensor.
pub fn extract(
    base: &Model,
    tuned: &Model,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Extraction> {
    let models = Models { base: Open::Shared(base), tuned: Open::Shared(tuned), deployed: None };
    one(&Survey::new(&models.aligned(options)?, options, monitor)?)
}

fn one(survey: &Survey<'_>) -> Result<Extraction> {
    let options = survey.options;
    if options.format == AdapterFormat::Phlora {
        return compact::extract(survey);
    }
    match options.policy.goal {
        Goal::Budget(_) | Goal::TotalEnergy(_) => budget::within_limit(survey),
        Goal::Energy(_) | Goal::NoiseFloor if options.policy.uniform => survey.one_rank_for_all(),
        _ => {
            let keep = Keep::Encoded(options.dtype);
            let (modules, others) = survey.run(|pair| Some(Aim::of(pair, &options.policy)), keep, true)?;
            survey.extraction(modules, others)
        }
    }
}

/// One factorisation at the largest of `ranks`, cut to each.
fn several(survey: &Survey<'_>, ranks: &[usize]) -> Result<Vec<Extraction>> {
    let (options, policy) = (survey.options, survey.options.policy);
    let (modules, others) = survey.run(|pair| Some(Aim::of(pair, &policy)), Keep::Whole, true)?;
    let one = |&rank: &usize| {
        let policy = Policy { max_rank: rank, ..policy };
        check(&policy)?;
        let cut = |module: &Module| match options.format {
            AdapterFormat::Phlora => module.compact(&vec![compact::BITS; policy.round(rank)]),
            _ => module.cut_to(policy.round(rank), options.dtype),
        };
        let modules: Result<_> = modules.iter().map(cut).collect();
        Ok(Extraction { policy, ..survey.extraction(modules?, others.clone())? })
    };
    ranks.iter().map(one).collect()
}

impl PartFiles {
    /// No files, for `work`.
    pub fn new(work: Work) -> Self {
        Self { work, own: None, others: Vec::new(), command: Vec::new(), fresh: false }
    }

    /// The file beside an adapter at `output` that keeps what is found of it.
    pub fn beside(output: &Path) -> PathBuf {
        let path: PathBuf = output.components().collect();
        let mut name = path.into_os_string();
        name.push(".part");
        PathBuf::from(name)
    }
}
