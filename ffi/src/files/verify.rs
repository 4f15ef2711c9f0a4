//! phlora_verify_files.

use super::{ProgressCallback, failure, path, told, watched};
use crate::guard::{In, Out, guarded};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use phlora::{Adapter, ChannelScales, Model, available_threads, verify};
use std::num::NonZeroUsize;

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
}

impl SizedStruct for Verification {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        modules: 0,
        energy: 0.0,
        lowest_energy: 0.0,
        sum_squares: 0.0,
        outside: 0,
        outside_sum_squares: 0.0,
    };
}

/// Reads two models and an adapter back and measures what the adapter keeps: `phlora verify BASE TUNED ADAPTER`.
/// Allocates and starts threads.
///
/// - `base`, `tuned`, `adapter`: as for phlora_extract_files.
/// - `threads`: 0: one per processor.
/// - `progress`, `user`: see phlora_progress_callback; may be NULL.
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
    threads: usize,
    progress: ProgressCallback,
    user: *mut c_void,
    verification: Out<Verification>,
    verification_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    guarded(|guard| {
        let (base, tuned) = (path(guard, base)?, path(guard, tuned)?);
        let adapter = path(guard, adapter)?;
        let slot = guard.sized_slot(verification, verification_size)?;
        let message = guard.message(message, message_len)?;
        let threads = NonZeroUsize::new(threads).unwrap_or_else(available_threads);
        let result = watched(progress, user, |monitor| {
            let (base, tuned) = (Model::open(&base)?, Model::open(&tuned)?);
            verify(&base, &tuned, &Adapter::open(&adapter)?, &ChannelScales::default(), threads, monitor)
        });
        let found = told(result.map_err(|error| failure(&error)), message)?;
        slot.write(Verification {
            struct_size: verification_size.min(size_of::<Verification>()),
            rank: found.modules.iter().map(|module| module.rank).max().unwrap_or(0),
            modules: found.modules.len() as u64,
            energy: found.energy,
            lowest_energy: found.modules.iter().map(|module| module.energy).fold(1.0, f64::min),
            sum_squares: found.sum_squares,
            outside: found.outside as u64,
            outside_sum_squares: found.outside_sum_squares,
        });
        Ok(())
    })
}
