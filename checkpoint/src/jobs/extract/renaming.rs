//! How the modules of two models are called in the adapter that is extracted from them.

use crate::adapter::single::{Places, Style};
use crate::adapter::{AdapterFormat, Lora, Naming};
use crate::error::{Error, Reason, Result};
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::tasks::Task;
use crate::naming::arch::NameMap;
use crate::naming::kind::Kind;
use crate::naming::memory::Layout;
use crate::pairing::aligned::{Aligned, Names, Side};
use crate::pairing::pairs::Pair;

/// From the models' names to those of the adapter's format.
#[derive(Debug, Clone)]
pub(crate) enum Renaming {
    /// They are the same.
    None,
    /// Between a checkpoint and GGUF; with how the model is in memory where a PEFT adapter gets those names.
    Map(NameMap, Option<Box<Layout>>),
    /// From a checkpoint to a single file.
    Single(Places, Style),
}

impl Renaming {
    /// Refuses at once what could not be written at the end. What the readers of single files have no name for is
    /// measured instead of extracted.
    pub(crate) fn new(
        models: &Aligned<'_>,
        options: &ExtractOptions,
        jobs: &mut [(Pair<'_>, Task)],
    ) -> Result<Self> {
        if let Some(style) = options.format.style() {
            return single(models, options.prefix.as_deref(), style, jobs);
        }
        if options.prefix.is_some() {
            let problem =
                "a prefix is for the names of kohya and ComfyUI files; other formats have the model's own";
            return Err(Error::usage(problem.into()));
        }
        let (same, other) = match models.naming() {
            Naming::Gguf => (AdapterFormat::Gguf, "checkpoint"),
            _ => (AdapterFormat::Peft, "GGUF file"),
        };
        if options.format == AdapterFormat::Mlx {
            leave_experts(jobs);
        }
        let checkpoint = options.format == AdapterFormat::Mlx && same == AdapterFormat::Peft;
        if options.format == same || checkpoint || options.format == AdapterFormat::Phlora {
            return Ok(Self::None);
        }
        let names = models.names()?;
        for (pair, _) in jobs.iter().filter(|(_, task)| matches!(task, Task::Extract)) {
            let known = match (models.naming(), pair.expert) {
                (Naming::Gguf, Some(expert)) => names.to_hugging_face(pair.base.stored_name(), expert.index),
                (Naming::Gguf, None) => names.to_hugging_face(pair.name, 0),
                _ => names.to_gguf(pair.name),
            };
            if known.is_none() {
                let architecture = names.architecture();
                let problem = format!("has no known place in a {other} of {architecture}");
                return Err(pair.base.error(problem).because(Reason::Unusable));
            }
        }
        let memory = options.format == AdapterFormat::Peft && options.names == Names::Memory;
        let layout = if memory { Layout::of_gguf(&names) } else { None };
        Ok(Self::Map(names, layout.map(Box::new)))
    }

    /// `lora`, made of these models, under the names of `format`. `experts` is the number of a layer's experts; 0: not
    /// known.
    pub(crate) fn apply<'l>(
        &self,
        lora: Lora<'l>,
        format: AdapterFormat,
        experts: usize,
    ) -> Result<Lora<'l>> {
        match self {
            Self::None => Ok(lora),
            Self::Map(names, _) if format == AdapterFormat::Gguf => lora.to_gguf(names, experts),
            Self::Map(names, None) => lora.to_hugging_face(names),
            Self::Map(names, Some(layout)) => lora.to_hugging_face(names)?.into_memory(layout),
            Self::Single(places, style) => places.to_single(lora, *style),
        }
    }
}

/// Measures experts instead of extracting them: mlx-lm has them stacked under other names.
fn leave_experts(jobs: &mut [(Pair<'_>, Task)]) {
    for (pair, task) in jobs.iter_mut().filter(|(_, task)| matches!(task, Task::Extract)) {
        if pair.expert.is_some() || pair.module().contains(".experts.") {
            let reason = "expert: mlx-lm has them stacked, which is not written".to_owned();
            *task = Task::Measure { reason, entries: Some(pair.base.len()), strict: false };
        }
    }
}

fn single(
    models: &Aligned<'_>,
    prefix: Option<&str>,
    style: Style,
    jobs: &mut [(Pair<'_>, Task)],
) -> Result<Renaming> {
    let named = |side: &&Side<'_>| !side.model.is_gguf();
    let Some(side) = models.sides().find(named).filter(|_| models.naming() == Naming::HuggingFace) else {
        let problem = "single files have names made of a checkpoint's, which GGUF files lack";
        return Err(Error::usage(problem.into()));
    };
    let places = prefix.map_or_else(|| Places::of(side.model), Places::whole);
    places.check(style)?;
    for (pair, task) in jobs.iter_mut().filter(|(_, task)| !matches!(task, Task::Measure { .. })) {
        let reason = match places.name(style, pair.module()) {
            None => "no name: the readers of single files have none".to_owned(),
            Some(_) if pair.kind == Kind::Linear && pair.transposed => {
                "no name: stored [in, out], which the readers of single files do not expect".to_owned()
            }
            Some(_) => continue,
        };
        *task = Task::Measure { reason, entries: Some(pair.base.len()), strict: false };
    }
    Ok(Renaming::Single(places, style))
}
