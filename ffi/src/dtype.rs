//! Storage formats, by the number that C passes.

use crate::status::Status;

/// Storage format of weights, little-endian.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE binary32, 4 bytes.
    F32 = 1,
    /// IEEE binary16, 2 bytes.
    F16 = 2,
    /// The upper half of a binary32, 2 bytes.
    Bf16 = 3,
}

/// The format that `value` stands for.
pub fn dtype(value: u32) -> Result<phlora_core::Dtype, Status> {
    Ok(match value {
        x if x == Dtype::F32 as u32 => phlora_core::Dtype::F32,
        x if x == Dtype::F16 as u32 => phlora_core::Dtype::F16,
        x if x == Dtype::Bf16 as u32 => phlora_core::Dtype::Bf16,
        _ => return Err(Status::UnknownValue),
    })
}
