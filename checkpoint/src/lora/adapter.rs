//! An adapter on disk, of whatever format.

use super::{Lora, peft};
use crate::error::Result;
use std::path::{Path, PathBuf};

/// A LoRA adapter on disk, mapped.
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Peft(peft::Directory),
}

impl Adapter {
    /// Opens a PEFT adapter directory, or one of the two files in it, and checks that its pairs are complete.
    ///
    /// The files stay mapped and must not change meanwhile, as for [`Model::open`](crate::Model::open).
    ///
    /// # Errors
    /// When a file is missing or unsound, or a tensor is not part of a complete LoRA pair of the rank that
    /// the configuration says; file and tensor are named.
    pub fn open(path: &Path) -> Result<Self> {
        let source = Source::Peft(peft::Directory::open(path)?);
        let adapter = Self { path: path.to_owned(), source };
        adapter.lora()?;
        Ok(adapter)
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds, with the factors as they are in the file; modules sorted by name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn lora(&self) -> Result<Lora<'_>> {
        match &self.source {
            Source::Peft(directory) => directory.lora(),
        }
    }

    /// The alpha that the file states for all modules; 0 where it states that there is none.
    pub fn alpha(&self) -> f64 {
        match &self.source {
            Source::Peft(directory) => directory.config.alpha,
        }
    }
}
