//! phlora_verify_files.

use super::call::{Named, ProgressCallback, job, path, watched};
use super::filter::channel_scales;
use super::module::{ModuleCallback, tell};
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Adapter, Model, available_threads, verify};
use std::num::NonZeroUsize;

/// Options of phlora_verify_files: zeros but for struct_size, then what differs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VerifyOptions {
    /// sizeof(phlora_verify_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// Told of each module.
    pub module: ModuleCallback,
    /// What both of them get.
    pub user: *mut c_void,
    /// Threads; default: one per processor.
    pub threads: usize,
    /// Weights of the input channels: a safetensors file with a vector per module, by its path. NULL: none.
    pub channel_scale: In<c_char>,
}

/// What an adapter on disk keeps of a difference, after rounding.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Verification {
    /// Size of what was written.
    pub struct_size: usize,
    /// Largest rank of a module.
    pub rank: usize,
    /// Modules of the adapter.
    pub modules: u64,
    /// 1 − Σ‖Δ − B·A‖² / Σ‖Δ‖² over the adapter's modules.
    pub energy: f64,
    /// The lowest energy of a module; negative where the adapter makes it worse.
    pub lowest_energy: f64,
    /// Σ‖Δ‖²_F over the adapter's modules.
    pub sum_squares: f64,
    /// Tensors that differ but have no factors.
    pub outside: u64,
    /// Σ‖Δ‖²_F over those of them that can be compared.
    pub outside_sum_squares: f64,
    /// Kept share of the whole difference: modules, what is held beside factors, and what is outside.
    pub whole_energy: f64,
    /// Tensors that the adapter holds beside factors.
    pub beside: u64,
}

impl SizedStruct for VerifyOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        module: None,
        user: ptr::null_mut(),
        threads: 0,
        channel_scale: In::NULL,
    };
}

impl SizedStruct for Verification {
    const FIRST_SIZE: usize = core::mem::offset_of!(Self, whole_energy);
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        modules: 0,
        energy: 0.0,
        lowest_energy: 0.0,
        sum_squares: 0.0,
        outside: 0,
        outside_sum_squares: 0.0,
        whole_energy: 0.0,
        beside: 0,
    };
}

/// Reads two models and an adapter back and measures what the adapter keeps: `phlora verify BASE TUNED ADAPTER`.
/// Allocates and starts threads.
///
/// - `base`, `tuned`, `adapter`: as for phlora_extract_files.
/// - `options`: see phlora_verify_options; NULL: all defaults.
/// - `verification`, `verification_size`: written on success; sizeof(phlora_verification).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, BAD_TEXT, IO, FORMAT, MISMATCH,
/// CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_verify_files(
    base: In<c_char>,
    tuned: In<c_char>,
    adapter: In<c_char>,
    options: In<VerifyOptions>,
    verification: Out<Verification>,
    verification_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(verification, verification_size).of("verification")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let (base, tuned) = (path(guard, "base", base)?, path(guard, "tuned", tuned)?);
        let adapter = path(guard, "adapter", adapter)?;
        let channels = channel_scales(guard, asked.channel_scale)?;
        let threads = NonZeroUsize::new(asked.threads).unwrap_or_else(available_threads);
        let found = watched(asked.progress, asked.user, |monitor| {
            let (base, tuned) = (Model::open(&base)?, Model::open(&tuned)?);
            verify(&base, &tuned, &Adapter::open(&adapter)?, &channels, threads, monitor)
        })?;
        tell(asked.module, asked.user, &found.modules);
        slot.write(Verification {
            struct_size: verification_size.min(size_of::<Verification>()),
            rank: found.modules.iter().map(|module| module.rank).max().unwrap_or(0),
            modules: found.modules.len() as u64,
            energy: found.energy,
            lowest_energy: found.modules.iter().map(|module| module.energy).fold(1.0, f64::min),
            sum_squares: found.sum_squares,
            outside: found.outside as u64,
            outside_sum_squares: found.outside_sum_squares,
            whole_energy: found.whole_energy,
            beside: found.full.len() as u64,
        });
        Ok(found.notes.join("\n"))
    })
}
