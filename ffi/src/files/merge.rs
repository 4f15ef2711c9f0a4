//! phlora_merge_files.

use super::call::{Failure, Named, ProgressCallback, job, path, paths, watched};
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Adapter, Model, available_threads, merge};
use std::num::NonZeroUsize;

/// Options of phlora_merge_files: zeros but for struct_size, then what differs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MergeOptions {
    /// sizeof(phlora_merge_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// What it gets.
    pub user: *mut c_void,
    /// Threads; default: one per processor. The model does not depend on it.
    pub threads: usize,
    /// What the adapters are multiplied by, beyond their own scales, for each in its order. NULL: 1.
    pub scales: In<f32>,
    /// 1: replace a model that is there already.
    pub force: u32,
    /// 0.
    pub reserved: u32,
}

/// What phlora_merge_files wrote.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Merged {
    /// Size of what was written.
    pub struct_size: usize,
    /// Files of the model.
    pub files: usize,
    /// Weights that adapters were merged into, each expert counted.
    pub weights: u64,
    /// Tensors that adapters change beside factors.
    pub tensors: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl SizedStruct for MergeOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        user: ptr::null_mut(),
        threads: 0,
        scales: In::NULL,
        force: 0,
        reserved: 0,
    };
}

impl SizedStruct for Merged {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), files: 0, weights: 0, tensors: 0, bytes: 0 };
}

/// Writes a model with adapters merged into its weights: `phlora merge BASE ADAPTER… -o MODEL`. Merged weights keep their
/// format, all other bytes are those of the base. Allocates and starts threads.
///
/// - `base`: the model, safetensors or GGUF, file or directory.
/// - `adapters`, `adapters_len`: PEFT directories, or files of GGUF, kohya, ComfyUI or phlora's own; at least one.
/// - `model`: what to create: a file where the base is one, else a directory.
/// - `options`: see phlora_merge_options; NULL: all defaults.
/// - `merged`, `merged_size`: written on success; sizeof(phlora_merged).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, BAD_TEXT, BAD_OPTION, IO, FORMAT, MISMATCH,
/// EXISTS, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_files(
    base: In<c_char>,
    adapters: In<In<c_char>>,
    adapters_len: usize,
    model: In<c_char>,
    options: In<MergeOptions>,
    merged: Out<Merged>,
    merged_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(merged, merged_size).of("merged")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let base = path(guard, "base", base)?;
        let adapters = paths(guard, "adapters", adapters, adapters_len)?;
        let model = path(guard, "model", model)?;
        if adapters.is_empty() {
            return Err(Failure::option("adapters", "expected at least one"));
        }
        let count = if asked.scales.is_null() { 0 } else { adapters.len() };
        let scales = guard.list_among(asked.scales, count).of("scales")?;
        if let Some(i) = scales.iter().position(|scale| !scale.is_finite()) {
            return Err(Failure::option(&format!("scales[{i}]"), "expected a finite number"));
        }
        let mut checked = phlora::MergeOptions::default();
        checked.force = asked.force != 0;
        checked.threads = NonZeroUsize::new(asked.threads).unwrap_or_else(available_threads);
        let found = watched(asked.progress, asked.user, |monitor| {
            let base = Model::open(&base)?;
            let adapters = adapters.iter().map(|path| Adapter::open(path)).collect::<Result<Vec<_>, _>>()?;
            let scales = scales.iter().copied().chain(std::iter::repeat(1.0));
            let terms: Vec<_> = adapters.iter().zip(scales).collect();
            merge(&base, &terms, &model, &checked, monitor)
        })?;
        slot.write(Merged {
            struct_size: merged_size.min(size_of::<Merged>()),
            files: found.files,
            weights: found.weights as u64,
            tensors: found.full as u64,
            bytes: found.bytes,
        });
        Ok(String::new())
    })
}
