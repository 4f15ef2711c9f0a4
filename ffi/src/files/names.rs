//! Whose names the modules of an adapter get, by the number that C passes.

use crate::status::Status;

/// Whose names the modules of a PEFT adapter get.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As transformers builds the model in memory, which is what PEFT looks for.
    Memory = 0,
    /// As the checkpoint spells them.
    Checkpoint = 1,
}

/// What `value` stands for.
pub fn names(value: u32) -> Result<phlora::Names, Status> {
    Ok(match value {
        x if x == Names::Memory as u32 => phlora::Names::Memory,
        x if x == Names::Checkpoint as u32 => phlora::Names::Checkpoint,
        _ => return Err(Status::UnknownValue),
    })
}
