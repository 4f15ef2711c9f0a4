//! Two models, paired, and the jobs over threads that come of it, largest first.

use crate::adapter::targets::targets;
use crate::adapter::{AdapterFormat, Naming, Target};
use crate::error::{Error, Result};
use crate::jobs::extract::also::Take;
use crate::jobs::extract::extraction::Extraction;
use crate::jobs::extract::full::{self, Full};
use crate::jobs::extract::includes;
use crate::jobs::extract::layers;
use crate::jobs::extract::meeting::Member;
use crate::jobs::extract::module::{Module, replace};
use crate::jobs::extract::nothing::nothing;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::outcome::{Keep, Others};
use crate::jobs::extract::plans::Aim;
use crate::jobs::extract::renaming::Renaming;
use crate::jobs::extract::saved;
use crate::jobs::extract::tasks::{Holds, Task, decide};
use crate::naming::kind::{Kind, kind_of, module_of, suffix_of};
use crate::naming::memory::Layout;
use crate::pairing::aligned::{Aligned, Side};
use crate::pairing::heads::Heads;
use crate::pairing::pairs::{Pair, is_tied};
use crate::report::{LeftOut, Note, Origin};
use crate::run::monitor::Monitor;
use crate::source::hub;
use crate::source::model::Model;
use crate::source::place::is_address;
use phlora_core::{Goal, Policy};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Two models, paired, and what is asked of them.
pub(crate) struct Survey<'m> {
    pub(super) models: &'m Aligned<'m>,
    pub(crate) options: &'m ExtractOptions,
    pub(super) monitor: &'m Monitor,
    pub(super) jobs: Vec<(Pair<'m>, Task)>,
    pub(super) one_sided: Vec<LeftOut>,
    names: Renaming,
    /// What is to be known about the options.
    notes: Vec<Note>,
    task: Option<&'static str>,
    started: Instant,
    /// Bytes read so far, of both sides, every read counted.
    pub(super) read: AtomicU64,
    /// Where its rounds are run; `None`: by themselves.
    pub(super) member: Option<Member>,
}

impl<'m> Survey<'m> {
    pub(crate) fn new(
        models: &'m Aligned<'m>,
        options: &'m ExtractOptions,
        monitor: &'m Monitor,
    ) -> Result<Self> {
        let started = Instant::now();
        check(&options.policy)?;
        options.format.check(options.dtype)?;
        // A GGUF adapter holds none, and where a base has GGUF's names they are not mapped.
        let convolutions = !matches!(options.format, AdapterFormat::Gguf | AdapterFormat::Mlx)
            && models.naming() == Naming::HuggingFace
            && !options.filter.linear_only;
        let embeddings = match options.format {
            _ if options.filter.linear_only => Err("this server takes none"),
            AdapterFormat::Kohya | AdapterFormat::Comfy => Err("this file format has no place for them"),
            _ => Ok(()),
        };
        let attention = match options.format {
            _ if options.filter.linear_only => Err("multi-head attention: this server takes none"),
            format if format.is_like_peft() && options.also.biases => {
                Err("multi-head attention of torch beside values of biases")
            }
            format if format.is_like_peft() => Ok(()),
            _ => Err("multi-head attention of torch, which only PEFT's format has a place for"),
        };
        let checkpoints = models.sides().all(|side| !side.model.is_gguf());
        options.also.check(options.format, checkpoints)?;
        check_twice(models)?;
        let whole = options.format.is_like_peft() && !options.filter.linear_only;
        let heads = if whole { Heads::of(models)? } else { Heads::default() };
        let holds = Holds {
            heads: &heads,
            convolutions,
            embeddings,
            attention,
            also: options.also,
            format: options.format,
        };
        let pairing = decide(models, &options.filter, holds)?;
        let (mut jobs, one_sided) = (pairing.jobs, pairing.one_sided);
        layers::take(&mut jobs, options);
        saved::take(&mut jobs, options, is_tied(models))?;
        // Largest first, so that no large one is left to a single thread at the end.
        jobs.sort_by_key(|(pair, _)| (std::cmp::Reverse(pair.bytes()), pair.name));
        let names = Renaming::new(models, options, &mut jobs)?;
        let extracted = jobs.iter().filter(|(_, task)| matches!(task, Task::Extract)).map(|(pair, _)| pair);
        options.channel_scales.check(extracted)?;
        let mut notes = includes::check(&jobs, &one_sided, &options.filter)?;
        notes.extend(new_heads(&jobs).map(Note::Text));
        let task = match (&models.layout, heads.task) {
            (Some(_), task) => task,
            (None, _) => is_causal(source(models)).then_some("CAUSAL_LM"),
        };
        let (read, member) = (AtomicU64::new(0), None);
        Ok(Self { models, options, monitor, jobs, one_sided, names, notes, task, started, read, member })
    }

    /// The modules to extract.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &Pair<'m>> {
        self.jobs.iter().filter(|(_, task)| matches!(task, Task::Extract)).map(|(pair, _)| pair)
    }

    /// The goal's ranks first, then every module at the largest of them.
    pub(crate) fn one_rank_for_all(&self) -> Result<Extraction> {
        let policy = &self.options.policy;
        let spectrum = Keep::Spectrum(self.options.dtype);
        let (modules, _) = self.run(|pair| Some(Aim::of(pair, policy)), spectrum, false)?;
        let rank = modules.iter().map(|module| module.report.rank).max().unwrap_or(0).max(1);
        let rank = policy.round(rank);
        let keep = Keep::Encoded(self.options.dtype);
        let (mut modules, others) = self.run(|pair| Some(Aim::fixed(pair, rank)), keep, true)?;
        if let Goal::Energy(share) = policy.goal {
            // What a rank keeps is known to the tolerance; a module that needs it all is read to the end.
            let missed: BTreeSet<_> = modules
                .iter()
                .map(|module| &module.report)
                .filter(|report| report.energy - report.rounding_loss < share)
                .map(|report| report.name.clone())
                .collect();
            let aim = |pair: &Pair<'_>| {
                let wanted = Aim { goal: policy.goal, given: Some(rank), ..Aim::fixed(pair, rank) };
                missed.contains(pair.module()).then_some(wanted)
            };
            let (again, _) = self.run(aim, keep, false)?;
            replace(&mut modules, again);
        }
        self.extraction(modules, others)
    }

    /// The linear modules of the models that have no factors, although others of their kind have.
    fn missing_of_kinds(&self, modules: &[Module]) -> Vec<(String, [usize; 2])> {
        let named: BTreeSet<_> = modules.iter().map(|module| module.path.as_str()).collect();
        let kinds: BTreeSet<_> = named.iter().map(|name| suffix_of(name)).collect();
        let missing = self.jobs.iter().map(|(pair, _)| pair).filter(|pair| {
            let module = pair.path();
            pair.target() == Target::Module
                && pair.kind == Kind::Linear
                && kinds.contains(suffix_of(module))
                && !named.contains(module)
        });
        let shaped = missing.map(|pair| {
            let (rows, cols) = pair.stored_shape();
            (pair.path().to_owned(), if pair.transposed { [cols, rows] } else { [rows, cols] })
        });
        let mut shaped: Vec<_> = shaped.collect();
        shaped.sort();
        shaped
    }

    /// PEFT's targets for an adapter of `modules`, under the names of a checkpoint where the output has them.
    pub(crate) fn targets<'n>(&self, modules: impl Iterator<Item = &'n str>) -> Vec<String> {
        let tensors = || self.models.sides().flat_map(Side::tensors);
        let hidden = self.models.layout.iter().flat_map(Layout::hidden);
        let (AdapterFormat::Peft, Renaming::Map(names, _)) = (self.options.format, &self.names) else {
            return targets(&modules.collect(), tensors().map(|(name, _)| name).chain(hidden));
        };
        let renamed: BTreeMap<&str, String> = tensors()
            .filter_map(|(name, tensor)| {
                let expert = tensor.expert();
                let stored = if expert.is_some() { tensor.stored_name() } else { name };
                let mapped = names.to_hugging_face(stored, expert.map_or(0, |expert| expert.index))?;
                Some((module_of(name), mapped.name))
            })
            .collect();
        let extracted = modules.filter_map(|module| renamed.get(module)).map(|name| module_of(name));
        targets(&extracted.collect(), renamed.values().map(String::as_str))
    }

    /// The adapter of `modules`, of which there must be any.
    pub(crate) fn extraction(&self, modules: Vec<Module>, others: Others) -> Result<Extraction> {
        if modules.is_empty() {
            return Err(nothing(self.models, &others.full, &others.left_out));
        }
        Ok(self.gathered(modules, others))
    }

    /// What was found, of however many modules.
    pub(crate) fn gathered(&self, modules: Vec<Module>, others: Others) -> Extraction {
        let Others { full, mut left_out } = others;
        let empty = if self.options.complete_kinds { self.missing_of_kinds(&modules) } else { Vec::new() };
        let names = || modules.iter().map(|module| module.path.as_str());
        let all = self.models.sides().flat_map(Side::tensors).map(|(name, _)| module_of(name)).collect();
        let factored: BTreeSet<_> = names().chain(empty.iter().map(|(name, _)| name.as_str())).collect();
        let (full, no_place) = full::placed(full, self.options.format, &factored, &all);
        left_out.extend(no_place);
        left_out.sort_by(|a, b| a.name.cmp(&b.name));
        let biases =
            self.options.format == AdapterFormat::Peft && full.iter().any(|full| full.tensor.adds_to_bias());
        let lacks = |module: &&&str| self.models.base.tensor(&format!("{module}.bias")).is_none();
        let without_bias = if biases { factored.iter().filter(lacks).count() } else { 0 };
        // Parameters are no targets by their modules.
        let named = modules
            .iter()
            .filter(|module| module.target == Target::Module)
            .map(|module| module.path.as_str());
        let targets = self.targets(named.chain(empty.iter().map(|(name, _)| name.as_str())));
        let base = source(self.models);
        let rank = modules.iter().map(|module| module.report.rank).max().unwrap_or(0);
        let pair =
            |full: &Full| self.jobs.iter().map(|(pair, _)| pair).find(|pair| pair.name == full.report.name);
        let large: Vec<_> =
            full.iter().filter_map(|full| full::large(pair(full)?, full, rank, self.options.dtype)).collect();
        Extraction {
            modules,
            full,
            without_bias,
            notes: self
                .models
                .notes
                .iter()
                .cloned()
                .map(Note::Text)
                .chain(self.notes.iter().cloned())
                .chain(large)
                .collect(),
            left_out,
            origin: origin(self.models),
            empty,
            format: self.options.format,
            names: self.names.clone(),
            experts: experts(self.models),
            targets,
            tuned_name: called(self.models.tuned.model),
            base_name: self.options.base_name.clone().unwrap_or_else(|| called(base)),
            architecture: base.architecture().map(str::to_owned),
            naming: self.models.naming(),
            spelling: self.models.layout.as_ref().map(Layout::spelling).unwrap_or_default(),
            task: self.task,
            class: self.models.layout.as_ref().and_then(Layout::stated_class),
            policy: self.options.policy,
            said: None,
            dtype: self.options.dtype,
            started: self.started,
            bytes_in: self.read.load(Ordering::Relaxed),
        }
    }
}

/// Refuses one model as both sides. Where a device runs another one the difference is its repair alone.
fn check_twice(models: &Aligned<'_>) -> Result<()> {
    let address = |path: &Path| is_address(path).then(|| path.to_owned());
    let place = |side: &Side<'_>| {
        let path = side.model.path();
        address(path).or_else(|| path.canonicalize().ok())
    };
    let base = place(&models.base);
    if models.origin.is_none() && base.is_some() && place(&models.tuned) == base {
        return Err(Error::nothing(format!(
            "{} is named twice, as the base and as the fine-tuned model: name the fine-tuned model second",
            models.tuned.model.path().display()
        )));
    }
    Ok(())
}

/// Refuses a policy that allows no rank.
pub(crate) fn check(policy: &Policy) -> Result<()> {
    if policy.max_rank == 0 {
        return Err(Error::usage("the rank is 0, expected at least 1".into()));
    }
    if policy.round(policy.max_rank) == 0 {
        let problem = format!("no multiple of {} is at most rank {}", policy.multiple, policy.max_rank);
        return Err(Error::usage(problem));
    }
    match policy.goal {
        Goal::Energy(share) | Goal::TotalEnergy(share) if !(share > 0.0 && share <= 1.0) => {
            Err(Error::usage(format!("an energy of {share} cannot be kept, expected above 0, at most 1")))
        }
        _ => Ok(()),
    }
}

/// Whether PEFT is to take the model for a causal language model. One that names no class counts as such, unless it has
/// convolutions of images.
fn is_causal(model: &Model) -> bool {
    let config = model.config();
    let image = |shape: &[usize]| shape.len() >= 4;
    let convolutions = || {
        model
            .tensors()
            .any(|(name, tensor)| kind_of(name, tensor.shape()) == Kind::Conv && image(tensor.shape()))
    };
    config.is_causal() && config.class_name.is_none() && (config.architecture.is_some() || !convolutions())
}

/// What is said of the heads that the base lacks, or has for another number of classes.
fn new_heads(jobs: &[(Pair<'_>, Task)]) -> impl Iterator<Item = String> {
    let of = |lacks: bool| {
        let is_new = |(pair, task): &&(Pair<'_>, Task)| {
            matches!(task, Task::Take(Take::Head { is_new: true }))
                && (pair.base.shape() == pair.tuned.shape()) == lacks
        };
        let heads: BTreeSet<_> = jobs.iter().filter(is_new).map(|(pair, _)| pair.module()).collect();
        let names = heads.iter().copied().collect::<Vec<_>>().join(", ");
        (!heads.is_empty()).then_some(names)
    };
    let only =
        of(true).map(|names| format!("only the fine-tuned model has {names}: stored whole in the adapter"));
    let other = of(false).map(|names| {
        format!("{names} has another number of classes than in the base: stored whole in the adapter")
    });
    only.into_iter().chain(other)
}

/// What a model is called where nobody says it: its id by its place in the hub's cache or by its configuration, else the
/// name of its directory or file, never a path of this machine.
fn called(model: &Model) -> String {
    let id = hub::id_of(model.path());
    let stated = || model.config().name_or_path.clone().filter(|name| hub::is_id(name));
    id.or_else(stated).unwrap_or_else(|| hub::short_name(model.path()))
}

/// The model that was fine-tuned.
fn source<'m>(models: &Aligned<'m>) -> &'m Model {
    models.origin.as_ref().unwrap_or(&models.base).model
}

/// What a report says of the models.
fn origin(models: &Aligned<'_>) -> Origin {
    let path = |side: &Side<'_>| side.model.path().display().to_string();
    let mut origin = Origin::new(source(models).path().display().to_string(), path(&models.tuned));
    origin.deployed = models.origin.as_ref().map(|_| path(&models.base));
    origin
}

/// Experts of a layer; 0: not known.
fn experts(models: &Aligned<'_>) -> usize {
    let count = |side: &Side<'_>| {
        let stacked = side.tensors().filter_map(|(_, tensor)| Some(tensor.expert()?.count)).max();
        stacked.or(side.model.config().experts)
    };
    models.sides().find_map(count).unwrap_or(0)
}
