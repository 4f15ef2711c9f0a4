//! The weights of a model that are not stored under their names: quantised ones, and the experts of a stack.

use super::{Model, Place};
use crate::error::{Error, Result};
use crate::source::mapped::Mapped;
use crate::source::quantized::{Finder, Found};
use crate::source::remote::Hold;
use crate::source::tensor::{Expert, max_experts};

/// Longest tensor that may say how others are quantised.
const SAYING: usize = 16 << 10;

impl Model {
    /// Puts every quantised weight in the place of its components.
    pub(super) fn compose(&mut self) -> Result<()> {
        if self.stored.iter().all(|(_, stored)| stored.dtype.is_some()) {
            return Ok(());
        }
        self.kept = self.keep_small()?;
        let names = self.tensors.iter().map(|(name, place)| (name.clone(), place.stored)).collect();
        let finder = Finder {
            names: &names,
            stored: &self.stored,
            files: &self.files,
            method: self.config.quantization.as_ref(),
        };
        for Found { name, recipe, components } in finder.find()? {
            let place = Place { stored: recipe.codes, expert: None, quantized: Some(self.quantized.len()) };
            for component in &components {
                self.tensors.remove(component);
            }
            if self.tensors.insert(name.clone(), place).is_some() {
                let (file, codes) = &self.stored[place.stored];
                let problem = format!("it is quantised, and {name} is there as well");
                return Err(Error::tensor(self.files[*file].path(), &codes.name, problem));
            }
            let place = |component: usize| (self.stored[component].0, self.stored[component].1.range.clone());
            self.beside.push(recipe.beside().map(place).collect());
            self.quantized.push(recipe);
        }
        Ok(())
    }

    /// Keeps the tensors that may say how others are quantised, where the files are at addresses.
    fn keep_small(&self) -> Result<Option<Hold>> {
        let mut ranges = Vec::new();
        for (file, stored) in &self.stored {
            if let Some(image) = self.files[*file].remote().filter(|_| stored.range.len() <= SAYING) {
                ranges.push((image.clone(), stored.range.clone()));
            }
        }
        if ranges.is_empty() {
            return Ok(None);
        }
        let failed = |why: String| Error::format(&self.path, why);
        let hold = Hold::ask(ranges, None).map_err(failed)?;
        hold.wait().map_err(|(_, why)| failed(why))?;
        Ok(Some(hold))
    }

    /// Names every expert for itself.
    pub(super) fn expand_experts(&mut self) -> Result<()> {
        let mut total = 0_usize;
        let most = max_experts(self.files.iter().map(Mapped::len).sum());
        for (at, (file, stored)) in self.stored.iter().enumerate() {
            let (Some(module), [count, _, _]) = (experts_module(&stored.name), stored.shape.as_slice())
            else {
                continue;
            };
            let count = *count;
            // Else it is of a type that nobody knows, which is not read anyway.
            if !stored.range.len().is_multiple_of(count) {
                continue;
            }
            total = total.saturating_add(count);
            if total > most {
                let problem = format!("its {count} experts are more than {most} in a model of its size");
                return Err(Error::tensor(self.files[*file].path(), &stored.name, problem));
            }
            self.tensors.remove(&stored.name);
            for index in 0..count {
                let place = Place { stored: at, expert: Some(Expert { index, count }), quantized: None };
                if self.tensors.insert(format!("{module}.{index}.weight"), place).is_some() {
                    let problem = format!("its expert {index} has the name of another tensor");
                    return Err(Error::tensor(self.files[*file].path(), &stored.name, problem));
                }
            }
        }
        Ok(())
    }
}

/// The module of a GGUF tensor that stacks the matrices of experts, told by its name.
fn experts_module(name: &str) -> Option<&str> {
    name.strip_suffix(".weight").filter(|module| module.ends_with("_exps"))
}
