//! Weights that a job works on: their bytes are here meanwhile, and given back after.

use crate::error::{Reason, Result};
use crate::source::remote::Hold;
use crate::source::tensor::Tensor;

/// The bytes of some weights, until it is dropped. Those of files at addresses are fetched, those of mapped files come as they
/// are touched; both go in the end.
#[derive(Debug)]
pub(crate) struct Held<'m> {
    tensors: Vec<Tensor<'m>>,
    hold: Hold,
    /// Which of `tensors` each of the ranges of `hold` is of.
    owners: Vec<usize>,
}

impl<'m> Held<'m> {
    /// Asks for the bytes of all `tensors`, which are on their way then. Waits while others than `beside`, which stays, hold
    /// too much.
    ///
    /// # Errors
    /// Where they are more than may be held at a time.
    pub(crate) fn ask(tensors: Vec<Tensor<'m>>, beside: Option<&Self>) -> Result<Self> {
        let (mut ranges, mut owners) = (Vec::new(), Vec::new());
        for (owner, tensor) in tensors.iter().enumerate() {
            for (file, range) in tensor.extents().filter(|(_, range)| !range.is_empty()) {
                let Some(image) = file.remote() else { continue };
                ranges.push((image.clone(), range));
                owners.push(owner);
            }
        }
        let first = owners.first().copied().unwrap_or(0);
        let hold = Hold::ask(ranges, beside.map(|held| &held.hold))
            .map_err(|why| tensors[first].error(why).because(Reason::Spool))?;
        Ok(Self { tensors, hold, owners })
    }

    /// Waits until all bytes are here.
    ///
    /// # Errors
    /// Where some cannot be had; file and tensor are named.
    pub(crate) fn wait(&self) -> Result<()> {
        self.hold.wait().map_err(|(number, why)| self.tensors[self.owners[number]].error(why))
    }

    /// Both: the bytes are here.
    ///
    /// # Errors
    /// As [`ask`](Self::ask) and [`wait`](Self::wait).
    pub(crate) fn now(tensors: Vec<Tensor<'m>>) -> Result<Self> {
        let held = Self::ask(tensors, None)?;
        held.wait()?;
        Ok(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        for (file, range) in self.tensors.iter().flat_map(Tensor::extents) {
            file.give_back(range);
        }
    }
}
