//! The models of a job under common names, and with the rows of every weight in one order.
//!
//! Two checkpoints have the same names, and so have two GGUF files. Where a checkpoint meets a GGUF file, the
//! GGUF file is seen through the checkpoint's names, which its architecture maps, and in its order of rows.

use crate::adapter::{Lora, Naming};
use crate::error::{Error, Result};
use crate::naming::arch::NameMap;
use crate::naming::kind::is_conv1d_model;
use crate::naming::memory::{Layout, Weight, in_memory};
use crate::pairing::beginnings;
use crate::pairing::doubts::{check_sides, doubts};
use crate::source::config::Config;
use crate::source::model::Model;
use crate::source::tensor::Tensor;
use std::collections::BTreeMap;

/// Whose names the weights of checkpoints get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Names {
    /// As transformers builds the model in memory, which is what PEFT looks for. Experts are stacked, and projections
    /// joined or split, as there.
    #[default]
    Memory,
    /// As the checkpoint spells them.
    Checkpoint,
}

/// One model, seen through the common names.
#[derive(Debug)]
pub(crate) struct Side<'m> {
    pub(crate) model: &'m Model,
    weights: BTreeMap<String, Weight<'m>>,
}

/// The models of a job.
#[derive(Debug)]
pub(crate) struct Aligned<'m> {
    /// What the difference starts from.
    pub(crate) base: Side<'m>,
    pub(crate) tuned: Side<'m>,
    /// The model before fine-tuning, where `base` is what a device runs in its place.
    pub(crate) origin: Option<Side<'m>>,
    /// The map between the names, where there are both kinds of file.
    map: Option<NameMap>,
    /// How the adapter's model is in memory, where its names are those.
    pub(crate) layout: Option<Layout>,
    /// What is to be known about how the weights were paired.
    pub(crate) notes: Vec<String>,
}

impl<'m> Aligned<'m> {
    /// # Errors
    /// When a checkpoint meets a GGUF file of another architecture, or of one whose conversion is not known.
    pub(crate) fn new(
        base: &'m Model,
        tuned: &'m Model,
        origin: Option<&'m Model>,
        names: Names,
    ) -> Result<Self> {
        let models: Vec<_> = [Some(base), Some(tuned), origin].into_iter().flatten().collect();
        let (ggufs, checkpoints): (Vec<_>, Vec<_>) = models.iter().partition(|model| model.is_gguf());
        same_architecture(&ggufs)?;
        let map = if let (Some(gguf), Some(_)) = (ggufs.first(), checkpoints.first()) {
            Some(name_map(gguf, &checkpoints)?)
        } else {
            None
        };
        models.iter().try_for_each(|model| model.check_method())?;
        check_sides(base, tuned)?;
        let side = |model| Side::new(model, map.as_ref());
        let (base, tuned, origin) = (side(base)?, side(tuned)?, origin.map(side).transpose()?);
        let mut models = Self { base, tuned, origin, map, layout: None, notes: Vec::new() };
        if names == Names::Memory && models.naming() == Naming::HuggingFace {
            models.name_as_in_memory();
        }
        models.pair_names();
        let doubts = doubts(models.base.model, models.tuned.model);
        models.notes.extend(doubts);
        let quantized = models.sides().filter_map(|side| {
            let method = side.model.quantization()?;
            Some(format!("{} is quantised with {method}", side.model.path().display()))
        });
        let quantized: Vec<_> = quantized.collect();
        models.notes.extend(quantized);
        Ok(models)
    }

    /// Gives all weights the names, and the shapes, that they have in memory.
    fn name_as_in_memory(&mut self) {
        let type_of = |side: &Side<'_>| side.model.config().model_type.clone();
        let source = self.origin.as_ref().unwrap_or(&self.base);
        let same_type = type_of(source) == type_of(&self.tuned);
        let [base, tuned, origin] = [Some(&self.base), Some(&self.tuned), self.origin.as_ref()]
            .map(|side| Layout::of_model(side?.model));
        // The adapter goes onto the base, in the class of the tuned model where that is another class of the same type.
        let of_source = if self.origin.is_some() { &origin } else { &base };
        let target = match of_source {
            Some(source) if tuned.is_none() || !same_type => Some(source.clone()),
            _ => tuned.clone(),
        };
        let Some(target) = target else {
            let types = self.sides().filter(|side| !side.model.is_gguf()).map(|side| side.model.config());
            let type_of = |config: &Config| config.architecture.clone().or(config.model_type.clone());
            let unknown = types.filter(|config| config.class_name.is_none()).find_map(type_of);
            self.notes.extend(unknown.map(|name| {
                format!(
                    "the architecture {name} is not known: its modules keep the names of the checkpoint, which PEFT may \
                     not find in memory"
                )
            }));
            return;
        };
        let sides = [Some(&mut self.base), Some(&mut self.tuned), self.origin.as_mut()];
        for (side, own) in sides.into_iter().zip([base, tuned, origin]) {
            let Some(side) = side else { continue };
            side.weights =
                in_memory(std::mem::take(&mut side.weights), &own.unwrap_or_else(|| target.clone()));
        }
        self.layout = Some(target);
    }

    /// Brings the names together where one model is within the other, or was saved from another class.
    fn pair_names(&mut self) {
        let target = |layout: &Option<Layout>, side: &Side<'_>| {
            layout
                .as_ref()
                .is_some_and(|layout| side.model.config().architecture.as_deref() == Some(layout.class))
        };
        let tuned_is = target(&self.layout, &self.tuned);
        let Self { base, tuned, origin, notes, .. } = self;
        if tuned_is {
            for side in [Some(base), origin.as_mut()].into_iter().flatten() {
                notes.extend(beginnings::rename(&mut side.weights, &tuned.weights));
            }
        } else {
            notes.extend(beginnings::rename(&mut tuned.weights, &base.weights));
            if let Some(origin) = origin {
                notes.extend(beginnings::rename(&mut origin.weights, &base.weights));
            }
        }
    }

    /// Whose names they are.
    pub(crate) fn naming(&self) -> Naming {
        if self.map.is_none() && self.base.model.is_gguf() { Naming::Gguf } else { Naming::HuggingFace }
    }

    /// The map between checkpoint and GGUF names of these models.
    pub(crate) fn names(&self) -> Result<NameMap> {
        if let Some(map) = &self.map {
            return Ok(map.clone());
        }
        let architecture = self.sides().find_map(|side| side.model.architecture()).ok_or_else(|| {
            let problem = "it does not say its architecture (a config.json with a model_type does)";
            Error::format(self.base.model.path(), problem)
        })?;
        let heads = self.sides().find_map(|side| side.model.config().heads);
        let names = self.sides().flat_map(Side::tensors).map(|(name, _)| name);
        Ok(NameMap::new(architecture, heads)?.with_names(names))
    }

    /// `lora` under the names of these models.
    ///
    /// # Errors
    /// When their architecture is not known, or one of the modules has no name there.
    pub(crate) fn renamed<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        // By the side whose names are the common ones.
        let named = self.sides().find(|side| side.model.is_gguf() == (self.naming() == Naming::Gguf));
        let lora = lora.resolved(named.unwrap_or(&self.base).model)?;
        if let (Naming::HuggingFace, Some(layout)) = (self.naming(), &self.layout) {
            let lora = if lora.naming == Naming::Gguf { lora.to_hugging_face(&self.names()?)? } else { lora };
            return lora.into_memory(layout);
        }
        match (lora.naming, self.naming()) {
            (Naming::HuggingFace, Naming::Gguf) => lora.to_gguf(&self.names()?, 0),
            (Naming::Gguf, Naming::HuggingFace) => lora.to_hugging_face(&self.names()?),
            _ => Ok(lora),
        }
    }

    /// Whether tensors of this name are something else in a GGUF file, or not known to be the same.
    pub(crate) fn is_incomparable(&self, name: &str) -> bool {
        self.map.as_ref().is_some_and(|map| map.to_gguf(name).is_none())
    }

    /// All sides.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Side<'m>> {
        [Some(&self.base), Some(&self.tuned), self.origin.as_ref()].into_iter().flatten()
    }
}

impl<'m> Side<'m> {
    fn new(model: &'m Model, map: Option<&NameMap>) -> Result<Self> {
        let map = map.filter(|_| model.is_gguf());
        let mut weights = BTreeMap::new();
        for (name, tensor) in model.tensors() {
            let expert = tensor.expert().map_or(0, |expert| expert.index);
            let mapped = map.and_then(|map| map.to_hugging_face(tensor.stored_name(), expert));
            let Some(mapped) = mapped else {
                weights.insert(name.to_owned(), Weight::new(name, tensor));
                continue;
            };
            let order = mapped.to_gguf_rows(tensor.shape().first().copied().unwrap_or(1))?;
            let tensor = order.map_or(tensor, |order| tensor.in_order(order.inverse()));
            weights.insert(mapped.name.clone(), Weight::new(&mapped.name, tensor));
        }
        Ok(Self { model, weights })
    }

    /// Its weights by common name, sorted.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (&str, &Weight<'m>)> {
        self.weights.iter().map(|(name, weight)| (name.as_str(), weight))
    }

    /// Its tensors by common name, sorted.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, Tensor<'_>)> {
        self.weights().map(|(name, weight)| (name, weight.tensor()))
    }

    /// The weight of this common name.
    pub(crate) fn weight(&self, name: &str) -> Option<&Weight<'m>> {
        self.weights.get(name)
    }

    /// The tensor of this common name.
    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.weights.get(name).map(Weight::tensor)
    }
}

/// GGUF files have the same names for different things, so their architectures must be the same where stated.
fn same_architecture(ggufs: &[&Model]) -> Result<()> {
    for pair in ggufs.windows(2) {
        if let (Some(one), Some(other)) = (pair[0].architecture(), pair[1].architecture())
            && one != other
        {
            let problem =
                format!("its architecture is {other}, but that of {} is {one}", pair[0].path().display());
            return Err(Error::format(pair[1].path(), problem));
        }
    }
    Ok(())
}

/// The map between the names of `gguf` and of `checkpoints`, of which there is at least one.
fn name_map(gguf: &Model, checkpoints: &[&Model]) -> Result<NameMap> {
    let stated = gguf.architecture().ok_or_else(|| {
        let problem =
            "it lacks the key general.architecture, by which it could be compared with a checkpoint";
        Error::format(gguf.path(), problem)
    })?;
    let heads = gguf.config().heads;
    for checkpoint in checkpoints {
        let config = checkpoint.config();
        if is_conv1d_model(config, checkpoint.tensors().map(|(name, tensor)| (name, tensor.shape()))) {
            let problem = "its linear weights are stored [in, out], but [out, in] in GGUF; \
                           compare it with another checkpoint";
            return Err(Error::format(checkpoint.path(), problem));
        }
        if let (Some(own), Some(other)) = (config.heads, heads)
            && own != other
        {
            let problem = format!(
                "its attention has {} and {} heads, but that of {} has {} and {}",
                own.queries,
                own.keys,
                gguf.path().display(),
                other.queries,
                other.keys
            );
            return Err(Error::format(checkpoint.path(), problem));
        }
        let Some(model_type) = &config.model_type else { continue };
        let own = NameMap::new(model_type, config.heads.or(heads))?;
        if own.architecture() != stated {
            let problem = format!(
                "its type is {model_type}, {} in GGUF, but the architecture of {} is {stated}",
                own.architecture(),
                gguf.path().display()
            );
            return Err(Error::format(checkpoint.path(), problem));
        }
    }
    let heads = heads.or_else(|| checkpoints.iter().find_map(|checkpoint| checkpoint.config().heads));
    let names = checkpoints.iter().flat_map(|checkpoint| checkpoint.tensors()).map(|(name, _)| name);
    Ok(NameMap::new(stated, heads)?.with_names(names))
}
