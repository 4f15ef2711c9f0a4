//! PEFT's adapter directory: `adapter_config.json` and `adapter_model.safetensors`.

mod config;
mod fields;
mod full;
mod pattern;
mod read;
mod target;
mod write;

pub(crate) use read::{Directory, without_adapter};
pub(crate) use write::{length, write};

/// The configuration's file name.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// The factors' file name.
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// What PEFT puts before a module's path.
pub(crate) const PREFIX: &str = "base_model.model.";
