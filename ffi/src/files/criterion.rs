//! What modules that share a budget keep the most of, by the number that C passes.

use crate::status::Status;

/// What modules that share a budget keep the most of.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// The length of their differences relative to their weights.
    Relative = 0,
    /// The energy of all of them together.
    Energy = 1,
}

/// What `value` stands for.
pub fn criterion(value: u32) -> Result<phlora::Criterion, Status> {
    Ok(match value {
        x if x == Criterion::Relative as u32 => phlora::Criterion::Relative,
        x if x == Criterion::Energy as u32 => phlora::Criterion::Energy,
        _ => return Err(Status::UnknownValue),
    })
}
