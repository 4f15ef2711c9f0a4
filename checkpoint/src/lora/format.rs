//! The file formats of adapters.

use super::gguf::{gguf_len, write_gguf};
use super::{Lora, peft};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::staging::{Known, Replaces, StagedDir, StagedFile};
use phlora_core::Dtype;
use std::path::Path;

/// File format of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdapterFormat {
    /// PEFT's directory: `adapter_config.json` and `adapter_model.safetensors`, with the checkpoint's names.
    Peft,
    /// llama.cpp's: one GGUF file, with the names and the order of rows of the base's GGUF file.
    Gguf,
}

/// An adapter that is written, but not in its place yet.
#[derive(Debug)]
pub(crate) enum StagedAdapter {
    Peft(StagedDir),
    Gguf(StagedFile),
}

impl AdapterFormat {
    /// The format that a path asks for: GGUF where it ends in `.gguf`.
    pub fn of_path(path: &Path) -> Self {
        let gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if gguf { Self::Gguf } else { Self::Peft }
    }

    /// Checks that factors can be stored as `dtype`.
    ///
    /// # Errors
    /// When they cannot.
    pub fn check(self, dtype: Dtype) -> Result<()> {
        match (self, dtype) {
            (_, Dtype::F32 | Dtype::F16 | Dtype::Bf16) | (Self::Gguf, Dtype::Q8_0) => Ok(()),
            (Self::Gguf, _) => {
                let problem =
                    format!("a GGUF adapter cannot hold {}: use f32, f16, bf16 or q8_0", dtype.name());
                Err(Error::Usage(problem))
            }
            (Self::Peft, _) => {
                let problem = format!("a PEFT adapter cannot hold {}: use f32, f16 or bf16", dtype.name());
                Err(Error::Usage(problem))
            }
        }
    }

    /// Bytes of the files of `lora`.
    pub(crate) fn length(self, lora: &Lora<'_>) -> Result<u64> {
        match self {
            Self::Peft => peft::length(lora),
            Self::Gguf => gguf_len(lora),
        }
    }

    /// Tries whether an adapter can be created at `path`; leaves nothing behind.
    pub(crate) fn probe(self, path: &Path, force: bool) -> Result<()> {
        match self {
            Self::Peft => StagedDir::create(path, Replaces::Adapter, force).map(drop),
            Self::Gguf => StagedFile::write(path, Known::Adapter, force, |_| Ok(())).map(drop),
        }
    }

    /// Writes `lora` beside `path` and gives the bytes written.
    pub(crate) fn stage(self, lora: &Lora<'_>, path: &Path, force: bool) -> Result<(StagedAdapter, u64)> {
        match self {
            Self::Peft => {
                let staged = StagedDir::create(path, Replaces::Adapter, force)?;
                let bytes = peft::write(lora, staged.path())?;
                Ok((StagedAdapter::Peft(staged), bytes))
            }
            Self::Gguf => {
                let mut bytes = 0;
                let staged = StagedFile::write(path, Known::Adapter, force, |file| {
                    bytes = write_gguf(lora, file)?;
                    Ok(())
                })?;
                Ok((StagedAdapter::Gguf(staged), bytes))
            }
        }
    }
}

impl Lora<'_> {
    /// Writes it to `path`, where it appears by a rename when all is complete, and gives the bytes written. An adapter
    /// that is there already is replaced where `force` says so; anything else never is.
    ///
    /// # Errors
    /// When the output exists and may not be replaced, modules do not have the names of the format or a factor does
    /// not fit into it, the disk is full, or [`Error::Cancelled`]; nothing is left behind.
    pub fn save(&self, path: &Path, format: AdapterFormat, force: bool, monitor: &Monitor) -> Result<u64> {
        monitor.begin_writing()?;
        let (staged, bytes) = format.stage(self, path, force)?;
        monitor.check()?;
        staged.commit()?;
        Ok(bytes)
    }
}

impl StagedAdapter {
    /// Puts it into its place.
    pub(crate) fn commit(self) -> Result<()> {
        match self {
            Self::Peft(directory) => directory.commit(),
            Self::Gguf(file) => file.commit(),
        }
    }
}
