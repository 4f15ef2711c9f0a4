//! phlora_plan_files.

use super::call::{Named, ProgressCallback, job, path, path_or_none, watched};
use super::filter::Modules;
use super::module::{ModuleCallback, tell};
use super::report::FileReport;
use super::values::{criterion, factors, format};
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{Dtype, ExtractJob, Policy, available_threads, render_page, save_page, save_report};
use std::num::NonZeroUsize;
use std::path::Path;

/// Options of phlora_plan_files: zeros but for struct_size, then what differs; see phlora_file_options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PlanOptions {
    /// sizeof(phlora_plan_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// Told of each module and its singular values.
    pub module: ModuleCallback,
    /// What both of them get.
    pub user: *mut c_void,
    /// Threads; default: one per processor.
    pub threads: usize,
    /// Most working memory per thread in bytes; default: no limit.
    pub max_memory: usize,
    /// Look at the spectra as far as this rank. Default 128.
    pub max_rank: usize,
    /// As in phlora_file_options.
    pub include: In<In<c_char>>,
    /// Their number.
    pub include_len: usize,
    /// As in phlora_file_options.
    pub exclude: In<In<c_char>>,
    /// Their number.
    pub exclude_len: usize,
    /// As in phlora_file_options.
    pub channel_scale: In<c_char>,
    /// Where to write the spectra as a report: in JSON, for phlora_choice_file and phlora_page_file, or as a page where the name
    /// ends in `.html`. NULL: nowhere.
    pub report_path: In<c_char>,
    /// As in phlora_file_options.
    pub tolerance: f64,
    /// The phlora_dtype of the adapter that is planned. Default: as phlora_extract_files chooses it.
    pub dtype: u32,
    /// Its phlora_adapter_format; PHLORA_ADAPTER_FORMAT_AUTO stands for PEFT.
    pub format: u32,
    /// The phlora_criterion by which a budget is divided.
    pub criterion: u32,
    /// 1: replace a report that is there already.
    pub force: u32,
}

/// The rank as far as which spectra are looked at.
const MAX_RANK: usize = 128;

impl SizedStruct for PlanOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        module: None,
        user: ptr::null_mut(),
        threads: 0,
        max_memory: 0,
        max_rank: 0,
        include: In::NULL,
        include_len: 0,
        exclude: In::NULL,
        exclude_len: 0,
        channel_scale: In::NULL,
        report_path: In::NULL,
        tolerance: 0.0,
        dtype: 0,
        format: 0,
        criterion: 0,
        force: 0,
    };
}

/// Finds what ranks and bytes would keep, without writing an adapter: `phlora plan BASE TUNED`. Allocates and starts
/// threads.
///
/// - `base`, `tuned`: as for phlora_extract_files.
/// - `options`: see phlora_plan_options; NULL: all defaults.
/// - `report`, `report_size`: written on success; sizeof(phlora_file_report). Of every module as it would be at max_rank.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION,
/// IO, FORMAT, MISMATCH, EXISTS, NOTHING_TO_EXTRACT, CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_plan_files(
    base: In<c_char>,
    tuned: In<c_char>,
    options: In<PlanOptions>,
    report: Out<FileReport>,
    report_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(report, report_size).of("report")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let (base, tuned) = (path(guard, "base", base)?, path(guard, "tuned", tuned)?);
        let modules = Modules {
            include: asked.include,
            include_len: asked.include_len,
            exclude: asked.exclude,
            exclude_len: asked.exclude_len,
            channel_scale: asked.channel_scale,
            tolerance: asked.tolerance,
        };
        let mut checked = modules.options(guard)?;
        let most = if asked.max_rank > 0 { asked.max_rank } else { MAX_RANK };
        checked.policy = Policy { by: criterion(asked.criterion)?, ..Policy::fixed(most) };
        checked.format = format(asked.format, Path::new(""))?;
        let dtype = factors(asked.dtype, checked.format)?;
        checked.dtype = dtype.unwrap_or(Dtype::F16);
        checked.choose_dtype = dtype.is_none();
        checked.scratch = (asked.max_memory > 0).then_some(asked.max_memory);
        checked.threads = NonZeroUsize::new(asked.threads).unwrap_or_else(available_threads);
        let report_path = path_or_none(guard, "report_path", asked.report_path)?;
        let found = watched(asked.progress, asked.user, |monitor| {
            let report = ExtractJob::new(base, tuned).options(checked).plan(monitor)?;
            if let Some(path) = report_path {
                let is_page = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html"));
                if is_page {
                    save_page(&render_page(&report), &path, asked.force != 0, monitor)?;
                } else {
                    save_report(&report, &path, asked.force != 0, monitor)?;
                }
            }
            Ok(report)
        })?;
        tell(asked.module, asked.user, &found.modules);
        let struct_size = report_size.min(size_of::<FileReport>());
        let recommended =
            found.plan.as_ref().filter(|plan| plan.reached).map_or(0, |plan| plan.recommended.ranks[1]);
        let recommended_rank = recommended as u64;
        slot.write(FileReport { struct_size, recommended_rank, ..FileReport::from(&found) });
        Ok(found.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}
