//! The file formats of adapters.

use super::gguf::{gguf_len, write_gguf};
use super::single::{self, Style};
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
    /// kohya's: one safetensors file, with names as `lora_unet_down_blocks_0_attentions_0_proj_in`.
    Kohya,
    /// ComfyUI's: the same with names as `diffusion_model.input_blocks.1.1.proj_in`.
    Comfy,
}

/// An adapter that is written, but not in its place yet.
#[derive(Debug)]
pub(crate) enum StagedAdapter {
    Directory(StagedDir),
    File(StagedFile),
}

impl AdapterFormat {
    /// The format that a path asks for: GGUF where it ends in `.gguf`.
    pub fn of_path(path: &Path) -> Self {
        let gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if gguf { Self::Gguf } else { Self::Peft }
    }

    /// What it is called in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Peft => "a PEFT adapter",
            Self::Gguf => "a GGUF adapter",
            Self::Kohya => "a kohya adapter",
            Self::Comfy => "a ComfyUI adapter",
        }
    }

    /// How a single file writes names; `None` of formats that have the names of a model.
    pub(crate) fn style(self) -> Option<Style> {
        match self {
            Self::Kohya => Some(Style::Kohya),
            Self::Comfy => Some(Style::Comfy),
            Self::Peft | Self::Gguf => None,
        }
    }

    /// Checks that factors can be stored as `dtype`.
    ///
    /// # Errors
    /// When they cannot.
    pub fn check(self, dtype: Dtype) -> Result<()> {
        let others = match (self, dtype) {
            (_, Dtype::F32 | Dtype::F16 | Dtype::Bf16) | (Self::Gguf, Dtype::Q8_0) => return Ok(()),
            (Self::Gguf, _) => "f32, f16, bf16 or q8_0",
            _ => "f32, f16 or bf16",
        };
        Err(Error::Usage(format!("{} cannot hold {}: use {others}", self.name(), dtype.name())))
    }

    /// Bytes of the files of `lora`.
    pub(crate) fn length(self, lora: &Lora<'_>) -> Result<u64> {
        match self {
            Self::Peft => peft::length(lora),
            Self::Gguf => gguf_len(lora),
            Self::Kohya | Self::Comfy => single::length(lora),
        }
    }

    /// Tries whether an adapter can be created at `path`; leaves nothing behind.
    pub(crate) fn probe(self, path: &Path, force: bool) -> Result<()> {
        match self {
            Self::Peft => StagedDir::create(path, Replaces::Adapter, force).map(drop),
            Self::Gguf | Self::Kohya | Self::Comfy => {
                StagedFile::write(path, Known::Adapter, force, |_| Ok(())).map(drop)
            }
        }
    }

    /// Writes `lora` beside `path` and gives the bytes written.
    pub(crate) fn stage(self, lora: &Lora<'_>, path: &Path, force: bool) -> Result<(StagedAdapter, u64)> {
        if self == Self::Peft {
            let staged = StagedDir::create(path, Replaces::Adapter, force)?;
            let bytes = peft::write(lora, staged.path(), path)?;
            return Ok((StagedAdapter::Directory(staged), bytes));
        }
        let mut bytes = 0;
        let staged = StagedFile::write(path, Known::Adapter, force, |file| {
            bytes = if self == Self::Gguf { write_gguf(lora, file)? } else { single::write(lora, file)? };
            Ok(())
        })?;
        Ok((StagedAdapter::File(staged), bytes))
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
            Self::Directory(directory) => directory.commit(),
            Self::File(file) => file.commit(),
        }
    }
}
