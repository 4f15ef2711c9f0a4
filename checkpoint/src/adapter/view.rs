//! A model under the names that adapters have for its weights.

use crate::adapter::{Lora, LoraModule, Naming};
use crate::error::{Error, Result};
use crate::naming::arch::NameMap;
use crate::naming::kind::top;
use crate::naming::memory::{Layout, Weight, Weights, in_memory};
use crate::source::model::Model;

/// A model, its weights as it has them in memory where that is known; a GGUF model's as in its file.
#[derive(Debug)]
pub(crate) struct View<'m> {
    pub(crate) model: &'m Model,
    weights: Weights<'m>,
    layout: Option<Layout>,
}

impl<'m> View<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        let layout = Layout::of_model(model);
        let weights =
            model.tensors().map(|(name, tensor)| (name.to_owned(), Weight::new(name, tensor))).collect();
        let weights = match &layout {
            Some(layout) => in_memory(weights, layout),
            None => weights,
        };
        Self { model, weights, layout }
    }

    /// The names of its weights.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().map(String::as_str)
    }

    /// The weight of this name.
    pub(crate) fn weight(&self, name: &str) -> Option<&Weight<'m>> {
        self.weights.get(name)
    }

    /// Whether it has nothing of the module at the top that the tensor `name` belongs to.
    pub(crate) fn lacks_top_of(&self, name: &str) -> bool {
        self.names().all(|other| top(other) != top(name))
    }

    /// Its weights by name, sorted.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (&str, &Weight<'m>)> {
        self.weights.iter().map(|(name, weight)| (name.as_str(), weight))
    }

    /// `lora` under the names of this view.
    ///
    /// # Errors
    /// When the architecture is not known that is needed for it, or one of the modules has no name there.
    pub(crate) fn rename<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        let base = self.model;
        let lora = lora.resolved(base)?;
        let naming = if base.is_gguf() { Naming::Gguf } else { Naming::HuggingFace };
        let lora = match (lora.naming, naming) {
            (Naming::HuggingFace, Naming::Gguf) => {
                let experts = base.tensors().filter_map(|(_, tensor)| Some(tensor.expert()?.count)).max();
                lora.into_gguf_of(&self.map()?, experts.unwrap_or(0))?
            }
            (Naming::Gguf, Naming::HuggingFace) => {
                lora.to_hugging_face(&self.map()?.with_names(base.tensors().map(|(name, _)| name)))?
            }
            _ => lora,
        };
        match &self.layout {
            Some(layout) => lora.into_memory(layout),
            None => Ok(lora),
        }
    }

    /// The names of its architecture in checkpoints and in GGUF.
    fn map(&self) -> Result<NameMap> {
        let architecture = self.model.architecture().ok_or_else(|| {
            let problem =
                "it does not say its architecture, by which an adapter of the other format is renamed";
            Error::format(self.model.path(), problem)
        })?;
        NameMap::new(architecture, self.model.config().heads)
    }

    /// Whether it is known how its architecture has its weights in memory, so that a name that is not here is none of it.
    pub(crate) fn is_known(&self) -> bool {
        self.layout.is_some()
    }

    /// The weight that `module` changes, if there is one.
    pub(crate) fn of_module(&self, module: &LoraModule<'_>) -> Option<&Weight<'m>> {
        self.weights.get(&format!("{}.weight", module.name))
    }
}

/// The shape of `weight` where it is not that which `module` changes. Some checkpoints store their weights [in, out];
/// `transposed` says whether this may be one of them where it does not tell itself.
pub(crate) fn misfit(weight: &Weight<'_>, module: &LoraModule<'_>, transposed: bool) -> Option<Vec<usize>> {
    let (tensor, shape) = (weight.tensor(), module.weight_shape());
    let stored = tensor.shape();
    let turned = || {
        let transposed = weight.is_transposed().unwrap_or(transposed);
        transposed && shape.len() == 2 && stored.iter().eq(shape.iter().rev())
    };
    (stored != shape && !turned()).then(|| stored.to_vec())
}
