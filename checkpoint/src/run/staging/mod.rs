//! Outputs appear whole or not at all: built beside their place under a hidden name, synced, then renamed, or exchanged with
//! what is there.
//!
//! A process that is killed leaves at most its hidden file or directory, which the next run for the same output removes
//! ([`temporary`]). Where the system cannot exchange two names in one step ([`rename`]), the old directory goes aside
//! first; a process that is killed right then leaves no output, and the next run puts the old one back.

mod directory;
mod file;
mod place;
mod rename;
mod temporary;
#[cfg(test)]
mod tests;

pub(crate) use directory::{Replaces, StagedDir};
pub(crate) use file::{Known, StagedFile, fill_synced, write_synced};
pub(crate) use place::{is_within, parent};
