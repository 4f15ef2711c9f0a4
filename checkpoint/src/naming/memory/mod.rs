//! How the transformers library names, stacks, splits and turns the weights of a checkpoint in memory, and which of
//! them PEFT adapts, and how.
//!
//! A checkpoint keeps the names that its first authors gave it. transformers 5 renames weights while it loads them,
//! stacks experts and joins or splits projections, and PEFT needs the names in memory. `architectures.txt` holds
//! these facts for each class of model; `tests/interop/architectures.py` derives it from the installed libraries.

mod kinds;
mod layout;
mod pattern;
mod placed;
mod table;
mod text;
mod weight;

pub(crate) use kinds::Kinds;
pub(crate) use layout::Layout;
pub(crate) use pattern::{fill, prefix_numbers};
pub(crate) use placed::Placed;
pub(crate) use table::{param_order, task_of};
pub(crate) use weight::{Weight, Weights, in_memory};
