//! Enumerations of the file functions, by the numbers that C passes. 0 is always the default.

use super::call::{Failure, Named};
use crate::status::Status;
use phlora::{Layers, Tokens};
use std::path::Path;

/// File format of an adapter.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterFormat {
    /// GGUF where the adapter's name ends in `.gguf`, the compact form where it ends in `.phlora`, else PEFT.
    Auto = 0,
    /// PEFT's directory: `adapter_config.json` and `adapter_model.safetensors`.
    Peft = 1,
    /// llama.cpp's GGUF file.
    Gguf = 2,
    /// phlora's own file, 1 to 8 bits per entry: docs/compact-form.md.
    Compact = 3,
    /// A safetensors file with names as `lora_unet_down_blocks_0_…`, for kohya's scripts, diffusers and ComfyUI.
    Kohya = 4,
    /// A safetensors file with names as `diffusion_model.input_blocks.…`, for ComfyUI.
    Comfy = 5,
    /// A directory for mlx-lm: `adapter_config.json` and `adapters.safetensors`.
    Mlx = 6,
}

/// The format that `value` stands for, of an adapter at `path`.
pub fn format(value: u32, path: &Path) -> Result<phlora::AdapterFormat, Failure> {
    let is_single = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"));
    Ok(match value {
        x if x == AdapterFormat::Auto as u32 && is_single => {
            let path = path.display();
            let problem = format!("{path} may be kohya's, ComfyUI's or of the compact form: say which it is");
            return Err(Failure::option("format", problem));
        }
        x if x == AdapterFormat::Auto as u32 => phlora::AdapterFormat::of_path(path),
        x if x == AdapterFormat::Peft as u32 => phlora::AdapterFormat::Peft,
        x if x == AdapterFormat::Gguf as u32 => phlora::AdapterFormat::Gguf,
        x if x == AdapterFormat::Compact as u32 => phlora::AdapterFormat::Phlora,
        x if x == AdapterFormat::Kohya as u32 => phlora::AdapterFormat::Kohya,
        x if x == AdapterFormat::Comfy as u32 => phlora::AdapterFormat::Comfy,
        x if x == AdapterFormat::Mlx as u32 => phlora::AdapterFormat::Mlx,
        _ => return Err(Status::UnknownValue).of("format"),
    })
}

/// The storage format of factors that `value` stands for; 0: none is asked for.
pub fn factors(value: u32, format: phlora::AdapterFormat) -> Result<Option<phlora::Dtype>, Failure> {
    if value == 0 {
        return Ok(None);
    }
    let dtype = crate::dtype::dtype(value).of("dtype")?;
    if format == phlora::AdapterFormat::Phlora {
        return Err(Failure::option("dtype", "the compact form has bits of its own for each direction"));
    }
    Ok(Some(dtype))
}

/// What is stored beside the factors, exactly, as flags that add up: where the file format has a place for it, which
/// GGUF has for none of them.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Also {
    /// Weights and biases of normalisations.
    Norms = 1,
    /// Biases of modules with factors.
    Biases = 2,
    /// Rows of the vocabulary that differ or are new.
    Tokens = 4,
    /// Rows of the vocabulary that the base lacks.
    NewTokens = 8,
    /// Layers that PEFT gives no factors, or wrong ones, but takes whole, such as dilated convolutions. Without this flag
    /// they are stored where all of them together need no more bytes than the factors, and never within a budget.
    Layers = 16,
}

/// What the sum of flags `value` stands for.
pub fn also(value: u32) -> Result<phlora::Also, Failure> {
    let has = |flag: Also| value & flag as u32 != 0;
    if value >= 2 * Also::Layers as u32 {
        return Err(Status::UnknownValue).of("also");
    }
    let mut also = phlora::Also::default();
    also.norms = has(Also::Norms);
    also.biases = has(Also::Biases);
    also.tokens = Tokens::of(has(Also::Tokens), has(Also::NewTokens));
    also.layers = if has(Also::Layers) { Layers::All } else { Layers::Small };
    Ok(also)
}

/// What a budget over modules keeps the most of.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// The length of their differences relative to their weights.
    Relative = 0,
    /// The energy of all of them together.
    Energy = 1,
}

/// What `value` stands for.
pub fn criterion(value: u32) -> Result<phlora::Criterion, Failure> {
    Ok(match value {
        x if x == Criterion::Relative as u32 => phlora::Criterion::Relative,
        x if x == Criterion::Energy as u32 => phlora::Criterion::Energy,
        _ => return Err(Status::UnknownValue).of("criterion"),
    })
}

/// Whose names the modules of a PEFT adapter get.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Of an extraction those in memory, or those of the checkpoint where the server goes by them; of a conversion those
    /// that the adapter has, else those in memory.
    Auto = 0,
    /// As transformers builds the model in memory, which is what PEFT looks for.
    Memory = 1,
    /// As the checkpoint spells them.
    Checkpoint = 2,
}

/// What `value` stands for; `None`: nothing is asked for.
pub fn names(value: u32) -> Result<Option<phlora::Names>, Failure> {
    Ok(match value {
        x if x == Names::Auto as u32 => None,
        x if x == Names::Memory as u32 => Some(phlora::Names::Memory),
        x if x == Names::Checkpoint as u32 => Some(phlora::Names::Checkpoint),
        _ => return Err(Status::UnknownValue).of("names"),
    })
}

/// What serves the adapter: options are changed to what it accepts, and the message lists what was changed.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Nothing that is known: nothing is changed.
    Any = 0,
    /// PEFT itself.
    Peft = 1,
    /// vLLM.
    Vllm = 2,
    /// llama.cpp.
    LlamaCpp = 3,
    /// LoRAX.
    Lorax = 4,
    /// S-LoRA.
    Slora = 5,
    /// Punica.
    Punica = 6,
}

/// What `value` stands for.
pub fn server(value: u32) -> Result<Option<phlora::Server>, Failure> {
    Ok(Some(match value {
        x if x == Server::Any as u32 => return Ok(None),
        x if x == Server::Peft as u32 => phlora::Server::Peft,
        x if x == Server::Vllm as u32 => phlora::Server::Vllm,
        x if x == Server::LlamaCpp as u32 => phlora::Server::LlamaCpp,
        x if x == Server::Lorax as u32 => phlora::Server::Lorax,
        x if x == Server::Slora as u32 => phlora::Server::Slora,
        x if x == Server::Punica as u32 => phlora::Server::Punica,
        _ => return Err(Status::UnknownValue).of("server"),
    }))
}
