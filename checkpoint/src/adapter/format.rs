//! The file formats of adapters.

use super::single::Style;
use crate::error::{Error, Result};
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
    /// phlora's own, for its runtime: one file with a few bits per entry, with the models' names.
    Phlora,
}

impl AdapterFormat {
    /// The format that a path asks for: GGUF where it ends in `.gguf`, phlora's own where it ends in `.phlora`.
    pub fn of_path(path: &Path) -> Self {
        let ends =
            |with: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(with));
        if ends("gguf") {
            Self::Gguf
        } else if ends("phlora") {
            Self::Phlora
        } else {
            Self::Peft
        }
    }

    /// Whether it has the modules and the places of PEFT's format.
    pub(crate) fn is_like_peft(self) -> bool {
        matches!(self, Self::Peft | Self::Phlora)
    }

    /// Its name in options and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Gguf => "gguf",
            Self::Kohya => "kohya",
            Self::Comfy => "comfy",
            Self::Phlora => "phlora",
        }
    }

    /// Whether it is one file.
    pub fn is_file(self) -> bool {
        self != Self::Peft
    }

    /// A name for a file of it, and PEFT's for the file of weights in its directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Peft => "adapter_model.safetensors",
            Self::Gguf => "adapter.gguf",
            Self::Kohya | Self::Comfy => "adapter.safetensors",
            Self::Phlora => "adapter.phlora",
        }
    }

    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peft => "a PEFT adapter",
            Self::Gguf => "a GGUF adapter",
            Self::Kohya => "a kohya adapter",
            Self::Comfy => "a ComfyUI adapter",
            Self::Phlora => "an adapter in phlora's compact form",
        }
    }

    /// How a single file writes names; `None` of formats that have the names of a model.
    pub(crate) fn style(self) -> Option<Style> {
        match self {
            Self::Kohya => Some(Style::Kohya),
            Self::Comfy => Some(Style::Comfy),
            Self::Peft | Self::Gguf | Self::Phlora => None,
        }
    }

    /// Whether it has a place for factors in `dtype`.
    pub(crate) fn holds(self, dtype: Dtype) -> bool {
        let halves = matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16);
        halves || self == Self::Gguf && dtype.is_block() && dtype.is_encoded()
    }

    /// Checks that factors can be stored as `dtype`.
    ///
    /// # Errors
    /// When they cannot.
    pub fn check(self, dtype: Dtype) -> Result<()> {
        if self.holds(dtype) {
            return Ok(());
        }
        let held = Dtype::ALL.iter().copied().filter(|&dtype| self.holds(dtype));
        let names: Vec<_> = held.map(|dtype| dtype.name().to_ascii_lowercase()).collect();
        let others = names.join(", ");
        Err(Error::usage(format!("{} cannot hold {}: use {others}", self.name(), dtype.name())))
    }
}
