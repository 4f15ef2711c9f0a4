//! The base of an adapter that is converted, as far as it is known.

use super::options::ConvertOptions;
use super::paired::{Paired, paired};
use crate::adapter::single::{Places, Style};
use crate::adapter::targets::targets;
use crate::adapter::{Lora, Naming, Target, View};
use crate::error::{Error, Reason, Result};
use crate::naming::arch::NameMap;
use crate::naming::memory::Layout;
use crate::pairing::aligned::Names;
use crate::source::attention::Heads;
use crate::source::config::Config;
use crate::source::model::{Container, Model};
use std::collections::BTreeSet;
use std::path::Path;

/// What is known of the base.
pub(super) struct Base {
    /// Its tensors, where there are any here.
    pub(super) model: Option<Model>,
    pub(super) architecture: Option<String>,
    /// Its configuration, where there is one here.
    pub(super) config: Option<Config>,
    pub(super) heads: Option<Heads>,
    pub(super) experts: usize,
    /// As in [`ConvertOptions`].
    pub(super) prefix: Option<String>,
    /// What the adapter names as its base.
    pub(super) named: Option<String>,
}

impl Base {
    pub(super) fn open(lora: &Lora<'_>, options: &ConvertOptions) -> Result<Self> {
        let mut base = Self {
            model: None,
            architecture: None,
            config: None,
            heads: None,
            experts: 0,
            prefix: None,
            named: lora.base_name.clone(),
        };
        if let Some(path) = &options.base {
            base.read(path)?;
        }
        if lora.naming == Naming::Gguf {
            base.architecture.clone_from(&lora.architecture);
        }
        // What was said explicitly counts.
        base.architecture = options.architecture.clone().or(base.architecture);
        base.heads = options.heads.or(base.heads);
        base.prefix.clone_from(&options.prefix);
        Ok(base)
    }

    /// Takes the facts of the model at `path`; its weights need not be there where its configuration is.
    pub(super) fn read(&mut self, path: &Path) -> Result<()> {
        let mut config = if path.is_dir() { Config::read(path)? } else { Config::default() };
        match Model::open(path) {
            Ok(model) => {
                config = model.config().clone();
                if let Container::Gguf { architecture, .. } = model.container() {
                    self.architecture.clone_from(architecture);
                }
                self.model = Some(model);
            }
            Err(error) if config.model_type.is_none() => return Err(error),
            Err(_) => {}
        }
        self.architecture = self.architecture.take().or(config.model_type.clone());
        self.config = Some(config.clone());
        self.heads = config.heads;
        self.experts = config.experts.unwrap_or(0);
        Ok(())
    }

    pub(super) fn names(&self) -> Result<NameMap> {
        let architecture = self.architecture.as_deref().ok_or_else(|| {
            let named = self.named.as_deref().filter(|named| !named.is_empty());
            let named =
                named.map_or(String::new(), |named| format!(", and its adapter names {named} as its base"));
            let problem = format!("the architecture of the base is not known{named}");
            Error::usage(problem).because(Reason::NoArchitecture)
        })?;
        let names = NameMap::new(architecture, self.heads)?;
        let hugging_face = self.model.as_ref().filter(|model| *model.container() == Container::Safetensors);
        Ok(match hugging_face {
            Some(model) => names.with_names(model.tensors().map(|(name, _)| name)),
            None => names,
        })
    }

    pub(super) fn gguf(&self) -> Option<&Model> {
        self.model.as_ref().filter(|model| matches!(model.container(), Container::Gguf { .. }))
    }

    /// What single files call the base's modules; `diffusion` says that it may be a diffusion model alone.
    pub(super) fn places(&self, diffusion: bool) -> Result<Places> {
        match (&self.prefix, &self.model) {
            (Some(prefix), _) => Ok(Places::whole(prefix)),
            (None, Some(model)) => Ok(Places::of(model)),
            (None, None) if diffusion => Ok(Places::diffusion()),
            (None, None) => {
                let problem =
                    "what single files call the modules of the base is not known without it or a prefix";
                Err(Error::usage(problem.into()).because(Reason::NoBaseOrPrefix))
            }
        }
    }

    /// `lora` under the base's names, where it has those of a single file.
    pub(super) fn resolved<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        if lora.naming != Naming::Single {
            return Ok(lora);
        }
        let places = self.places(true)?;
        let Some(base) = &self.model else { return places.undotted(lora) };
        let naming = if base.is_gguf() { Naming::Gguf } else { Naming::HuggingFace };
        let names = base.tensors().map(|(name, _)| name);
        let lora = places.resolve(lora, names, naming, base.path())?;
        for module in &lora.modules {
            let (weight, shape) = (format!("{}.weight", module.name), module.weight_shape());
            if let Some(tensor) = base.tensor(&weight).filter(|tensor| tensor.shape() != shape) {
                let (file, found) = (tensor.file().display(), tensor.shape());
                let problem = format!(
                    "its pair changes a weight of shape {shape:?}, but {weight} in {file} has {found:?}"
                );
                return Err(module.a.error(problem));
            }
        }
        Ok(lora)
    }

    /// `lora` for a single file, and how its names were paired with the base's.
    pub(super) fn to_single<'a>(&self, lora: Lora<'a>, style: Style) -> Result<(Lora<'a>, Vec<String>)> {
        let single = lora.naming == Naming::Single;
        let lora = self.resolved(lora)?;
        let lora = if lora.naming == Naming::Gguf { self.checkpoint_names(lora)? } else { lora };
        let Paired { lora, renamed, notes } = paired(lora, self.model.as_ref())?;
        Ok((self.places(single)?.to_single(renamed.unwrap_or(lora), style)?, notes))
    }

    /// `lora` under the names of GGUF, and how its names were paired with the base's.
    pub(super) fn to_gguf<'a>(&self, lora: Lora<'a>) -> Result<(Lora<'a>, Vec<String>)> {
        let lora = self.resolved(lora)?;
        let mut said = Vec::new();
        let mut lora = match lora.naming {
            Naming::HuggingFace => {
                let Paired { lora, renamed, notes } = paired(lora, self.model.as_ref())?;
                said = notes;
                let experts = self.gguf().and_then(|model| {
                    let counts = model.tensors().filter_map(|(_, tensor)| Some(tensor.expert()?.count));
                    counts.max()
                });
                let (names, experts) = (self.names()?, experts.unwrap_or(self.experts));
                match (lora.into_gguf_of(&names, experts), renamed) {
                    // What it calls its modules is not known, what its base calls them is.
                    (Err(_), Some(renamed)) => renamed.into_gguf_of(&names, experts)?,
                    (done, _) => done?,
                }
            }
            _ => lora,
        };
        let Some(base) = self.gguf() else { return Ok((lora, said)) };
        for module in &mut lora.modules {
            let weight = format!("{}.weight", module.name);
            let Some(tensor) = base.tensor(&weight) else {
                let file = base.path().display();
                let tied =
                    if weight == "output.weight" { ", its output head is tied to the embedding" } else { "" };
                return Err(module.a.error(format!("the base {file} has no tensor {weight}{tied}")));
            };
            if tensor.shape() != module.weight_shape() {
                let (found, shape) = (tensor.shape(), module.weight_shape());
                return Err(
                    tensor.error(format!("its shape is {found:?}, the adapter's factors give {shape:?}"))
                );
            }
        }
        Ok((lora, said))
    }

    /// `lora` under the names of PEFT's format: those in memory, or those of the checkpoint; and how its names were paired with
    /// the base's.
    pub(super) fn to_peft<'a>(
        &self,
        lora: Lora<'a>,
        names: Option<Names>,
    ) -> Result<(Lora<'a>, Vec<String>)> {
        let kept = lora.naming == Naming::HuggingFace && names.is_none();
        let Paired { lora, renamed, notes } = paired(self.checkpoint_names(lora)?, self.model.as_ref())?;
        if kept {
            return Ok((lora, notes));
        }
        let (lora, layout) = (renamed.unwrap_or(lora), self.layout());
        let mut lora = match (names.unwrap_or_default(), &layout) {
            (_, None) => lora,
            (Names::Memory, Some(layout)) => lora.into_memory(layout)?,
            (Names::Checkpoint, Some(layout)) => lora.into_checkpoint(layout)?,
        };
        let Some(model) = self.model.as_ref().filter(|_| self.gguf().is_none()) else {
            return Ok((lora, notes));
        };
        let view = View::new(model);
        for module in &lora.modules {
            let weight = format!("{}.weight", module.name);
            if view.of_module(module).is_none() && model.tensor(&weight).is_none() {
                let base = model.path().display();
                return Err(module.a.error(format!("the base {base} has no tensor {weight}")));
            }
        }
        let modules = lora.modules.iter().filter(|module| module.target == Target::Module);
        let modules: BTreeSet<_> = modules.map(|module| module.name.as_ref()).collect();
        lora.targets = Some(match names.unwrap_or_default() {
            Names::Memory => targets(&modules, view.names().chain(layout.iter().flat_map(Layout::hidden))),
            Names::Checkpoint => targets(&modules, model.tensors().map(|(name, _)| name)),
        });
        Ok((lora, notes))
    }

    pub(super) fn checkpoint_names<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        let lora = self.resolved(lora)?;
        if lora.naming == Naming::Gguf { lora.to_hugging_face(&self.names()?) } else { Ok(lora) }
    }

    /// How the base is in memory, where that is known.
    pub(super) fn layout(&self) -> Option<Layout> {
        let own = self.model.as_ref().and_then(Layout::of_model);
        let own = own.or_else(|| Layout::of(self.config.as_ref()?, &std::iter::empty()));
        own.or_else(|| Layout::of_gguf(&self.names().ok()?))
    }
}
