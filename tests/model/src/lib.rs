//! The registry of phlora-core, compiled with the lock of the crate beside this one, so that loom can order its threads.

pub use phlora_core::{Assignment, Error};

#[path = "../../../core/src/adapter/registry/mod.rs"]
mod registry;

pub use registry::{Held, Pin, Pinned, Place, Registry, Usage};
