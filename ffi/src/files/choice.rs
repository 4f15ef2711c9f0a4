//! phlora_choice_file.

use super::call::{Named, job, path};
use super::ranks::Ranks;
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_char;
use core::mem::size_of;
use phlora::{Dtype, choose, read_report};

/// How ranks are chosen; the fields are those of phlora_file_options, and so is what 0 means.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ChoiceOptions {
    /// sizeof(phlora_choice_options).
    pub struct_size: usize,
    /// One rank for all.
    pub rank: usize,
    /// No rank above this.
    pub max_rank: usize,
    /// Ranks in multiples of this.
    pub multiple: usize,
    /// Share of the energy of each module.
    pub energy: f64,
    /// Share of the energy of all modules together.
    pub total_energy: f64,
    /// Bytes of all factors.
    pub budget: u64,
    /// A phlora_criterion.
    pub criterion: u32,
    /// 1: the noise floor of each module.
    pub noise_floor: u32,
    /// 1: one rank for all modules.
    pub uniform: u32,
    /// The phlora_dtype of the factors. Default PHLORA_DTYPE_F16.
    pub dtype: u32,
}

/// What a choice of ranks would come to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Size of what was written.
    pub struct_size: usize,
    /// Lowest rank of a module.
    pub lowest_rank: usize,
    /// Highest rank of a module.
    pub highest_rank: usize,
    /// Bytes of the factors, headers not counted.
    pub bytes: u64,
    /// Kept energy over all modules.
    pub energy: f64,
    /// 1 where the spectra of the report decide it; 0: ranks, bytes and energy are at least these.
    pub known: u32,
    /// 0.
    pub reserved: u32,
}

impl SizedStruct for ChoiceOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        max_rank: 0,
        multiple: 0,
        energy: 0.0,
        total_energy: 0.0,
        budget: 0,
        criterion: 0,
        noise_floor: 0,
        uniform: 0,
        dtype: 0,
    };
}

impl SizedStruct for Choice {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        lowest_rank: 0,
        highest_rank: 0,
        bytes: 0,
        energy: 0.0,
        known: 0,
        reserved: 0,
    };
}

/// Says what a choice of ranks would come to, from the spectra of a report. Allocates.
///
/// - `report`: what phlora_plan_files or phlora_extract_files wrote at `report_path`.
/// - `options`: see phlora_choice_options; NULL: all defaults.
/// - `choice`, `choice_size`: written on success; sizeof(phlora_choice).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION, IO, FORMAT,
/// INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_choice_file(
    report: In<c_char>,
    options: In<ChoiceOptions>,
    choice: Out<Choice>,
    choice_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(choice, choice_size).of("choice")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let report = path(guard, "report", report)?;
        let ranks = Ranks {
            rank: asked.rank,
            several: &[],
            energy: asked.energy,
            total_energy: asked.total_energy,
            budget: asked.budget,
            noise_floor: asked.noise_floor,
            max_rank: asked.max_rank,
            multiple: asked.multiple,
            uniform: asked.uniform,
            criterion: asked.criterion,
        };
        let (policy, _) = ranks.policy()?;
        let dtype =
            if asked.dtype == 0 { Dtype::F16 } else { crate::dtype::dtype(asked.dtype).of("dtype")? };
        let found = choose(&read_report(&report)?, &policy, dtype);
        slot.write(Choice {
            struct_size: choice_size.min(size_of::<Choice>()),
            lowest_rank: found.ranks.iter().copied().min().unwrap_or(0),
            highest_rank: found.ranks.iter().copied().max().unwrap_or(0),
            bytes: found.bytes,
            energy: found.energy,
            known: found.known.into(),
            reserved: 0,
        });
        Ok(String::new())
    })
}
