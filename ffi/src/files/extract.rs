//! phlora_extract_files.

use super::adapter_format::{AdapterFormat, format};
use super::also::also;
use super::criterion::{Criterion, criterion};
use super::names::{Names, names};
use super::{ProgressCallback, failure, os_path, path, told, watched};
use crate::dtype::{Dtype, dtype};
use crate::guard::{Guard, In, Out, guarded};
use crate::options::mode;
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::{offset_of, size_of};
use core::ptr;
use phlora::{ExtractJob, ExtractOptions, Goal, Output, Policy, available_threads};
use regex::Regex;
use std::num::NonZeroUsize;
use std::path::Path;

/// Options of phlora_extract_files. Let phlora_file_options_init fill it, then change what differs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FileOptions {
    /// sizeof(phlora_file_options), set by phlora_file_options_init.
    pub struct_size: usize,
    /// Rank of the adapter, at least 1; narrower modules are capped. Default 32.
    pub rank: usize,
    /// Most working memory per thread in bytes; 0, the default: no limit.
    pub max_memory: usize,
    /// Threads; 0, the default: one per processor. The adapter does not depend on it.
    pub threads: usize,
    /// Stop reading a weight when the next read is expected to add less than this share of the energy. The
    /// default is that of the `phlora` command.
    pub tolerance: f64,
    /// A phlora_mode. Default PHLORA_MODE_AUTO.
    pub mode: u32,
    /// Most reads of a weight. Default 40.
    pub max_reads: u32,
    /// The phlora_dtype of the adapter. Default PHLORA_DTYPE_F16.
    pub dtype: u32,
    /// 1: replace an adapter and a report that are there already. Default 0.
    pub force: u32,
    /// Only modules whose path matches this regular expression; NULL, the default: all linear layers but the
    /// output head.
    pub include: *const c_char,
    /// No module whose path matches this regular expression; NULL: none.
    pub exclude: *const c_char,
    /// Where to write a report in JSON; NULL: nowhere.
    pub report_path: *const c_char,
    /// Bytes of a weight read between two looks at a cancel. The adapter does not depend on it.
    pub block_bytes: usize,
    /// The phlora_adapter_format to write. PHLORA_ADAPTER_FORMAT_AUTO, the default: by the name of the adapter.
    pub format: u32,
    /// The sum of what is stored beside the factors, see phlora_also. Default 0: nothing.
    pub also: u32,
    /// The phlora_names of the adapter's modules. Default PHLORA_NAMES_MEMORY.
    pub names: u32,
    /// The phlora_criterion by which modules share the budget. Default PHLORA_CRITERION_RELATIVE.
    pub criterion: u32,
    /// Most bytes of the adapter's files: ranks follow from them then, and `rank` counts for nothing. 0, the default: none.
    pub budget: u64,
}

/// What phlora_extract_files did.
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
}

impl SizedStruct for FileOptions {
    const FIRST_SIZE: usize = offset_of!(Self, format);
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        max_memory: 0,
        threads: 0,
        tolerance: 0.0,
        mode: 0,
        max_reads: 0,
        dtype: Dtype::F16 as u32,
        force: 0,
        include: ptr::null(),
        exclude: ptr::null(),
        report_path: ptr::null(),
        block_bytes: 0,
        format: AdapterFormat::Auto as u32,
        also: 0,
        names: Names::Memory as u32,
        criterion: Criterion::Relative as u32,
        budget: 0,
    };
}

impl SizedStruct for FileReport {
    const FIRST_SIZE: usize = offset_of!(Self, whole_energy);
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
    };
}

/// Fills `options` with the defaults.
///
/// - `options_size`: sizeof(phlora_file_options); tells this library the version of the caller's header.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, STRUCT_SIZE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_file_options_init(options: Out<FileOptions>, options_size: usize) -> Status {
    guarded(|guard| {
        let default = ExtractOptions::default();
        guard.sized_slot(options, options_size)?.write(FileOptions {
            struct_size: options_size,
            rank: default.policy.max_rank,
            tolerance: default.tolerance,
            max_reads: default.max_reads,
            block_bytes: default.block_bytes,
            ..FileOptions::DEFAULT
        });
        Ok(())
    })
}

/// The checkpoint's options.
fn checked(guard: &mut Guard<'_>, options: &FileOptions, adapter: &Path) -> Result<ExtractOptions, Status> {
    let mut patterns = |text| match guard.text(In::of_field(text))? {
        None => Ok(Vec::new()),
        Some(text) => {
            let pattern = text.to_str().ok().and_then(|text| Regex::new(text).ok());
            Ok::<_, Status>(vec![pattern.ok_or(Status::BadText)?])
        }
    };
    let by = criterion(options.criterion)?;
    let shared = Policy {
        goal: Goal::Budget(options.budget),
        max_rank: usize::MAX,
        uniform: false,
        by,
        ..Policy::default()
    };
    let mut checked = ExtractOptions::default();
    checked.policy = if options.budget > 0 { shared } else { Policy::fixed(options.rank) };
    checked.mode = mode(options.mode)?;
    checked.dtype = dtype(options.dtype)?;
    checked.format = format(options.format, adapter)?;
    checked.tolerance = options.tolerance;
    checked.max_reads = options.max_reads;
    checked.scratch = (options.max_memory > 0).then_some(options.max_memory);
    checked.threads = NonZeroUsize::new(options.threads).unwrap_or_else(available_threads);
    checked.block_bytes = options.block_bytes;
    checked.also = also(options.also)?;
    checked.names = names(options.names)?;
    checked.filter.include = patterns(options.include)?;
    checked.filter.exclude = patterns(options.exclude)?;
    Ok(checked)
}

/// Extracts an adapter from two models: `phlora extract BASE TUNED -o ADAPTER`, with the same
/// bits. Nothing is left behind unless it succeeds. Allocates and starts threads.
///
/// - `base`, `tuned`: a `.safetensors` file, a sharded or a Hugging Face directory, or a GGUF file, split or not.
/// - `adapter`: the directory to create, or the file where its name ends in `.gguf` or `.phlora` or the options say so.
/// - `options`: see phlora_file_options.
/// - `progress`, `user`: see phlora_progress_callback; may be NULL.
/// - `report`, `report_size`: written on success; sizeof(phlora_file_report).
/// - `message`, `message_len`: receives the error's text, which names file and tensor, or an empty one; always
///   ends with a zero byte, cut where it is too long. NULL and 0: no text.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION,
/// IO, FORMAT, MISMATCH, EXISTS, NOTHING_TO_EXTRACT, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_extract_files(
    base: In<c_char>,
    tuned: In<c_char>,
    adapter: In<c_char>,
    options: In<FileOptions>,
    progress: ProgressCallback,
    user: *mut c_void,
    report: Out<FileReport>,
    report_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    guarded(|guard| {
        let (base, tuned) = (path(guard, base)?, path(guard, tuned)?);
        let adapter = path(guard, adapter)?;
        let options = guard.sized(options)?;
        let report_path = guard.text(In::of_field(options.report_path))?.map(os_path).transpose()?;
        let checked = checked(guard, &options, &adapter)?;
        let slot = guard.sized_slot(report, report_size)?;
        let message = guard.message(message, message_len)?;
        let output = Output::new(adapter).report(report_path).force(options.force != 0);
        let result = watched(progress, user, |monitor| {
            ExtractJob::new(base, tuned).options(checked).run(&output, monitor)
        });
        let saved = told(result.map_err(|error| failure(&error)), message)?;
        let found = &saved.first().ok_or(Status::Internal)?.report;
        slot.write(FileReport {
            struct_size: report_size.min(size_of::<FileReport>()),
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
        });
        Ok(())
    })
}
