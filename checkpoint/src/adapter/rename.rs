//! An adapter under the other naming: names, and the order of rows.

use super::gguf;
use super::single::Places;
use super::{Lora, LoraModule, Naming};
use crate::error::{Error, Reason, Result};
use crate::naming::arch::NameMap;
use crate::naming::memory::Layout;
use crate::source::model::Model;
use crate::source::permutation::RowPermutation;
use crate::source::tensor::Expert;

impl Lora<'_> {
    /// The same adapter under the names of its base's GGUF file. `experts` is the number of experts of a layer; 0: as
    /// many as the adapter names in any layer.
    ///
    /// # Errors
    /// When a module has no name in GGUF that is known, or rows that do not go into heads.
    pub fn to_gguf(mut self, names: &NameMap, experts: usize) -> Result<Self> {
        match self.naming {
            Naming::HuggingFace => {}
            Naming::Gguf => return Ok(self),
            Naming::Single => return Err(flattened()),
        }
        self.factors_only(gguf::NO_PLACE)?;
        // Rows of a head of each kind: those of queries and of keys are multiplied with each other.
        let mut head_rows = None::<(usize, String)>;
        for module in &mut self.modules {
            let mapped = names.to_gguf(&format!("{}.weight", module.name)).ok_or_else(|| {
                module.a.error(format!(
                    "its module {} has no known place in a GGUF file of {}",
                    module.name,
                    names.architecture()
                ))
            })?;
            let rows = mapped.to_gguf_rows(module.shape()[0])?;
            if let Some(heads) = mapped.heads {
                let own = module.shape()[0] / heads;
                let (first, other) = head_rows.get_or_insert_with(|| (own, module.name.to_string()));
                if own != *first {
                    return Err(module.b.error(format!(
                        "its heads would have {own} rows and those of {other} {first}, expected as many: the numbers of \
                         attention heads and of key and value heads are not those of the base"
                    )));
                }
            }
            if let Some(order) = rows {
                module.permute_rows(order);
            }
            let name = module_of(&mapped.name);
            module.expert = mapped.expert.map(|index| Expert { index, count: experts });
            module.name = match mapped.expert {
                Some(index) => format!("{name}.{index}").into(),
                None => name.to_owned().into(),
            };
        }
        self.count_experts();
        self.modules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            naming: Naming::Gguf,
            architecture: Some(names.architecture().to_owned()),
            // These speak of the checkpoint's modules.
            targets: None,
            fan_in_fan_out: false,
            ..self
        })
    }

    /// The same of an adapter that may have the names of memory, where experts are stacked.
    pub(crate) fn into_gguf_of(self, names: &NameMap, experts: usize) -> Result<Self> {
        match Layout::of_gguf(names) {
            Some(layout) => self.into_checkpoint(&layout)?.to_gguf(names, experts),
            None => self.to_gguf(names, experts),
        }
    }

    /// The same adapter under the names of its base's checkpoint. Experts whose factors are all zero are left out:
    /// GGUF has to hold some for every expert of a layer.
    ///
    /// # Errors
    /// When a module has no name in the checkpoint that is known, or rows that do not go into heads.
    pub fn to_hugging_face(mut self, names: &NameMap) -> Result<Self> {
        match self.naming {
            Naming::HuggingFace => return Ok(self),
            Naming::Gguf => {}
            Naming::Single => return Err(flattened()),
        }
        let mut modules = Vec::with_capacity(self.modules.len());
        for mut module in std::mem::take(&mut self.modules) {
            if module.expert.is_some() && module.a.is_zero()? && module.b.is_zero()? {
                continue;
            }
            let tensor = format!("{}.weight", module.tensor());
            let mapped = names
                .to_hugging_face(&tensor, module.expert.map_or(0, |expert| expert.index))
                .filter(|mapped| mapped.expert.is_some() == module.expert.is_some())
                .ok_or_else(|| {
                    let architecture = names.architecture();
                    let problem = format!("it has no known place in a checkpoint of {architecture}");
                    module.a.error(problem)
                })?;
            let rows = mapped.to_gguf_rows(module.shape()[0])?;
            if let Some(order) = rows {
                module.permute_rows(order.inverse());
            }
            module.name = module_of(&mapped.name).to_owned().into();
            module.expert = None;
            modules.push(module);
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            modules,
            naming: Naming::HuggingFace,
            task: self.task.or_else(|| Some("CAUSAL_LM".to_owned())),
            fan_in_fan_out: names.stores_transposed(),
            architecture: None,
            ..self
        })
    }

    /// The same adapter under the names of `base`, where it has those of a single file; else as it is.
    ///
    /// # Errors
    /// When a module's name there is that of no module of the base, or of several.
    pub fn resolved(self, base: &Model) -> Result<Self> {
        if self.naming != Naming::Single {
            return Ok(self);
        }
        let naming = if base.is_gguf() { Naming::Gguf } else { Naming::HuggingFace };
        let names = base.tensors().map(|(name, _)| name);
        Places::of(base).resolve(self, names, naming, base.path())
    }

    /// What is wrong where the adapter is of a GGUF file of another architecture than that of `base`.
    pub(crate) fn other_architecture(&self, base: &Model) -> Option<String> {
        let (own, other) = (self.architecture.as_deref()?, base.architecture()?);
        let fits = if base.is_gguf() { own == other } else { NameMap::goes_with(own, other) };
        let base = base.path().display();
        (self.naming == Naming::Gguf && !fits)
            .then(|| format!("its architecture is {own}, but that of the base {base} is {other}: it belongs to another model"))
    }

    /// Gives experts whose number is not known that of the highest that is named.
    fn count_experts(&mut self) {
        let named = self.modules.iter().filter_map(|module| Some(module.expert?.index + 1)).max();
        for expert in self.modules.iter_mut().filter_map(|module| module.expert.as_mut()) {
            if expert.count == 0 {
                expert.count = named.unwrap_or(0);
            }
        }
    }
}

impl LoraModule<'_> {
    /// Moves the rows of its weight, [out, in], to another order.
    fn permute_rows(&mut self, order: RowPermutation) {
        self.b.permute_rows(order);
        if let Some(magnitude) = &mut self.magnitude {
            magnitude.permute_rows(order);
        }
    }

    /// The name of the base's tensor that holds its weight, without `.weight`: that of all experts of a layer.
    pub(crate) fn tensor(&self) -> &str {
        match self.expert {
            Some(_) => self.name.rsplit_once('.').map_or(&self.name, |(tensor, _)| tensor),
            None => &self.name,
        }
    }
}

/// What keeps names with `_` for every dot from being mapped.
fn flattened() -> Error {
    Error::usage("the names of a single file are only known with the base's own".into())
        .because(Reason::NoBase)
}

fn module_of(tensor: &str) -> &str {
    tensor.strip_suffix(".weight").unwrap_or(tensor)
}
