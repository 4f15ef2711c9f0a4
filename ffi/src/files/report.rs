//! What phlora_extract_files and phlora_plan_files say of a job.

use crate::sized::SizedStruct;
use core::mem::size_of;
use phlora::{Outline, Report};

/// What phlora_extract_files did, and phlora_plan_files found.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FileReport {
    /// Size of what was written.
    pub struct_size: usize,
    /// Rank of the adapter.
    pub rank: usize,
    /// Modules with factors.
    pub modules: u64,
    /// Tensors without factors.
    pub left_out: u64,
    /// Modules that did not meet the tolerance.
    pub not_converged: u64,
    /// Kept energy over all modules, before the factors are rounded to their format.
    pub energy: f64,
    /// ‖Δ‖_F over all modules.
    pub delta_norm: f64,
    /// Weights in the extracted modules.
    pub parameters_in: u64,
    /// Weights in the adapter.
    pub parameters_out: u64,
    /// Bytes read of both models, every read counted.
    pub bytes_in: u64,
    /// Bytes of the adapter's files.
    pub bytes_out: u64,
    /// Wall time.
    pub seconds: f64,
    /// Kept share of the whole difference of the two models, after the factors are rounded to their format.
    pub whole_energy: f64,
    /// After a shard: tensors that others have to work on; all else is 0 then.
    pub missing: u64,
    /// After a plan: the smallest rank that keeps enough, or 0 where a larger one is needed than was looked at.
    pub recommended_rank: u64,
}

impl SizedStruct for FileReport {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        modules: 0,
        left_out: 0,
        not_converged: 0,
        energy: 0.0,
        delta_norm: 0.0,
        parameters_in: 0,
        parameters_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        seconds: 0.0,
        whole_energy: 0.0,
        missing: 0,
        recommended_rank: 0,
    };
}

impl From<&Outline> for FileReport {
    fn from(found: &Outline) -> Self {
        Self {
            rank: found.modules.iter().map(|module| module.most_rank).max().unwrap_or(0),
            modules: found.modules.len() as u64,
            left_out: found.left_out.len() as u64,
            bytes_in: found.weights,
            bytes_out: found.bytes.unwrap_or(0),
            ..Self::DEFAULT
        }
    }
}

impl From<&Report> for FileReport {
    fn from(found: &Report) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            rank: found.modules.iter().map(|module| module.rank).max().unwrap_or(0),
            modules: found.modules.len() as u64,
            left_out: found.left_out.len() as u64,
            not_converged: found.modules.iter().filter(|module| !module.converged).count() as u64,
            energy: found.total.energy,
            delta_norm: found.total.delta_norm,
            parameters_in: found.total.parameters_in,
            parameters_out: found.total.parameters_out,
            bytes_in: found.bytes_in,
            bytes_out: found.bytes_out,
            seconds: found.seconds,
            whole_energy: found.total.whole_energy.unwrap_or(found.total.energy),
            missing: 0,
            recommended_rank: 0,
        }
    }
}
