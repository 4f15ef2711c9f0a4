//! The extraction of an adapter from two models.
//!
//! [`ExtractJob`] runs all of it. [`survey`] pairs the models and runs what [`tasks`] decides about each pair of weights
//! over threads: [`outcome`] finds factors, by the [`plans`] of their shapes and a [`pass`] for each read, [`full`] takes
//! tensors whole. [`budget`] divides bytes among modules. [`extraction`] is the adapter in memory, which [`output`]
//! saves.

mod also;
pub(crate) mod budget;
mod card;
mod channels;
mod compact;
pub(crate) mod extraction;
mod full;
mod identity;
mod includes;
mod input;
mod job;
mod layers;
mod meeting;
mod memory_bound;
mod module;
mod nothing;
mod options;
pub(crate) mod outcome;
mod outline;
mod output;
mod part_files;
mod pass;
pub(crate) mod plans;
mod record;
mod renaming;
mod rounds;
mod saved;
mod serving;
mod several;
pub(crate) mod survey;
mod tasks;
mod together;

pub use also::{Also, Layers, Tokens};
pub use channels::ChannelScales;
pub use extraction::Extraction;
pub use input::Input;
pub use job::{ExtractJob, PartFiles, Saved, extract};
pub use options::{ExtractOptions, Filter};
pub use outline::{Outline, OutlinedModule};
pub use output::{Output, save};
pub use part_files::{PartHeader, Shard, Work};
pub use serving::Server;
