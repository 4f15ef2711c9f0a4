//! File formats of adapters, by the number that C passes.

use crate::status::Status;
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
}

/// The format that `value` stands for, of an adapter at `path`.
pub fn format(value: u32, path: &Path) -> Result<phlora::AdapterFormat, Status> {
    Ok(match value {
        x if x == AdapterFormat::Auto as u32 => phlora::AdapterFormat::of_path(path),
        x if x == AdapterFormat::Peft as u32 => phlora::AdapterFormat::Peft,
        x if x == AdapterFormat::Gguf as u32 => phlora::AdapterFormat::Gguf,
        x if x == AdapterFormat::Compact as u32 => phlora::AdapterFormat::Phlora,
        _ => return Err(Status::UnknownValue),
    })
}
