//! phlora_diff_files.

use super::call::{Failure, Named, ProgressCallback, job, path, path_or_none, watched};
use super::difference::{DifferenceCallback, tell};
use super::filter::Modules;
use crate::guard::{Guard, In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use core::ptr;
use phlora::{
    Adapter, AdapterDiff, ExtractJob, Model, Monitor, Policy, Report, available_threads, diff_adapters,
    render_adapter_diff, render_page, save_adapter_diff, save_page, save_report,
};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Options of phlora_diff_files: zeros but for struct_size, then what differs; see phlora_file_options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DiffOptions {
    /// sizeof(phlora_diff_options).
    pub struct_size: usize,
    /// Told of the progress; may cancel.
    pub progress: ProgressCallback,
    /// Told of each tensor or module that differs.
    pub difference: DifferenceCallback,
    /// What both of them get.
    pub user: *mut c_void,
    /// Threads; default: one per processor.
    pub threads: usize,
    /// Of models: most working memory per thread in bytes; default: no limit.
    pub max_memory: usize,
    /// Of models: look at the spectra as far as this rank. Default 64.
    pub max_rank: usize,
    /// As in phlora_file_options.
    pub include: In<In<c_char>>,
    /// Their number.
    pub include_len: usize,
    /// As in phlora_file_options.
    pub exclude: In<In<c_char>>,
    /// Their number.
    pub exclude_len: usize,
    /// Of models: as in phlora_file_options.
    pub channel_scale: In<c_char>,
    /// Of adapters: their base, whose names relate those of different formats. NULL: they have names of one kind.
    pub base: In<c_char>,
    /// Where to write all that was found: in JSON, or as a page where the name ends in `.html`. NULL: nowhere.
    pub report_path: In<c_char>,
    /// Of models: as in phlora_file_options.
    pub tolerance: f64,
    /// 1: replace a report that is there already.
    pub force: u32,
    /// 0.
    pub reserved: u32,
}

/// How two models, or two adapters, differ.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Diff {
    /// Size of what was written.
    pub struct_size: usize,
    /// Tensors of models that differ; modules that both adapters have.
    pub differing: usize,
    /// Of models: tensors that are the same.
    pub unchanged: u64,
    /// Tensors or modules that one side alone has, or whose sides cannot be compared.
    pub not_compared: u64,
    /// ‖second − first‖_F over all.
    pub distance: f64,
    /// Of adapters: √Σ‖s·B·A‖²_F of the first and the second.
    pub norms: [f64; 2],
    /// Of adapters: the cosine of both as one long vector each.
    pub cosine: f64,
    /// Of adapters: the share of each one's energy that lies in what the other reads and writes; the rest is what it adds.
    pub shared: [f64; 2],
    /// Of adapters: what that would be for directions that have nothing to do with each other.
    pub by_chance: f64,
    /// What was compared: PHLORA_CONTENTS_KIND_MODEL or PHLORA_CONTENTS_KIND_ADAPTER.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

/// The rank as far as which spectra are looked at.
const MAX_RANK: usize = 64;

impl SizedStruct for DiffOptions {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        progress: None,
        difference: None,
        user: ptr::null_mut(),
        threads: 0,
        max_memory: 0,
        max_rank: 0,
        include: In::NULL,
        include_len: 0,
        exclude: In::NULL,
        exclude_len: 0,
        channel_scale: In::NULL,
        base: In::NULL,
        report_path: In::NULL,
        tolerance: 0.0,
        force: 0,
        reserved: 0,
    };
}

impl SizedStruct for Diff {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        differing: 0,
        unchanged: 0,
        not_compared: 0,
        distance: 0.0,
        norms: [0.0; 2],
        cosine: 0.0,
        shared: [0.0; 2],
        by_chance: 0.0,
        kind: 0,
        reserved: 0,
    };
}

impl From<&Report> for Diff {
    fn from(found: &Report) -> Self {
        let diff = found.diff.as_ref();
        Self {
            differing: diff.map_or(0, |diff| diff.tensors.len()),
            unchanged: diff.map_or(0, |diff| diff.unchanged as u64),
            not_compared: diff.map_or(0, |diff| diff.not_compared as u64),
            distance: found.total.whole_norm.unwrap_or(found.total.delta_norm),
            kind: super::inspect::ContentsKind::Model as u32,
            ..Self::DEFAULT
        }
    }
}

impl From<&AdapterDiff> for Diff {
    fn from(found: &AdapterDiff) -> Self {
        let total = &found.total;
        Self {
            differing: found.modules.len(),
            not_compared: found.only.iter().map(|only| only.len() as u64).sum(),
            distance: total.distance,
            norms: total.norms,
            cosine: total.cosine,
            shared: total.shared,
            by_chance: total.by_chance,
            kind: super::inspect::ContentsKind::Adapter as u32,
            ..Self::DEFAULT
        }
    }
}

/// Says how two models, or two adapters, differ: `phlora diff FIRST SECOND`. Allocates and starts threads.
///
/// - `first`, `second`: two models of one architecture as for phlora_extract_files, or two adapters of one base: PEFT
///   directories, or files of GGUF, kohya, ComfyUI or phlora's own.
/// - `options`: see phlora_diff_options; NULL: all defaults.
/// - `diff`, `diff_size`: written on success; sizeof(phlora_diff).
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, BAD_TEXT, BAD_OPTION (also for a model and an
/// adapter), IO, FORMAT, MISMATCH, EXISTS, NOTHING_TO_EXTRACT (a model named twice), CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_diff_files(
    first: In<c_char>,
    second: In<c_char>,
    options: In<DiffOptions>,
    diff: Out<Diff>,
    diff_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let slot = guard.sized_slot(diff, diff_size).of("diff")?;
        let asked = guard.sized_or_default(options).of("options")?;
        let sides = [path(guard, "first", first)?, path(guard, "second", second)?];
        let base = path_or_none(guard, "base", asked.base)?;
        let report_path = path_or_none(guard, "report_path", asked.report_path)?;
        let (found, notes) = match sides.each_ref().map(|side| Adapter::is_at(side)) {
            [true, true] => (adapters(&asked, guard, &sides, base.as_deref(), report_path)?, String::new()),
            [false, false] if base.is_some() => {
                return Err(Failure::option("base", "it is for two adapters; these are two models"));
            }
            [false, false] => models(&asked, guard, sides, report_path)?,
            [is_first, _] => {
                let at = usize::from(!is_first);
                let (adapter, other) = (sides[at].display(), sides[1 - at].display());
                let problem =
                    format!("{adapter} is an adapter, {other} is not: two of one kind are compared");
                return Err(Failure::option("second", problem));
            }
        };
        slot.write(Diff { struct_size: diff_size.min(size_of::<Diff>()), ..found });
        Ok(notes)
    })
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html"))
}

/// Which modules are asked for.
fn modules(asked: &DiffOptions) -> Modules {
    Modules {
        include: asked.include,
        include_len: asked.include_len,
        exclude: asked.exclude,
        exclude_len: asked.exclude_len,
        channel_scale: asked.channel_scale,
        tolerance: asked.tolerance,
    }
}

fn models(
    asked: &DiffOptions,
    guard: &mut Guard<'_>,
    sides: [PathBuf; 2],
    report_path: Option<PathBuf>,
) -> Result<(Diff, String), Failure> {
    let mut checked = modules(asked).options(guard)?;
    checked.policy = Policy::fixed(if asked.max_rank > 0 { asked.max_rank } else { MAX_RANK });
    checked.scratch = (asked.max_memory > 0).then_some(asked.max_memory);
    checked.threads = NonZeroUsize::new(asked.threads).unwrap_or_else(available_threads);
    let force = asked.force != 0;
    let [first, second] = sides;
    let found = watched(asked.progress, asked.user, |monitor: &Monitor| {
        let report = ExtractJob::new(first, second).options(checked).diff(monitor)?;
        match report_path {
            Some(path) if is_page(&path) => save_page(&render_page(&report), &path, force, monitor)?,
            Some(path) => save_report(&report, &path, force, monitor)?,
            None => {}
        }
        Ok(report)
    })?;
    tell(asked.difference, asked.user, found.diff.iter().flat_map(|diff| &diff.tensors));
    let notes = found.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Ok((Diff::from(&found), notes))
}

fn adapters(
    asked: &DiffOptions,
    guard: &mut Guard<'_>,
    sides: &[PathBuf; 2],
    base: Option<&Path>,
    report_path: Option<PathBuf>,
) -> Result<Diff, Failure> {
    let mut options = phlora::DiffOptions::default();
    options.filter = modules(asked).options(guard)?.filter;
    options.threads = NonZeroUsize::new(asked.threads).unwrap_or_else(available_threads);
    let force = asked.force != 0;
    let found = watched(asked.progress, asked.user, |monitor: &Monitor| {
        let base = base.map(Model::open).transpose()?;
        let [first, second] = sides;
        let (first, second) = (Adapter::open(first)?, Adapter::open(second)?);
        let found = diff_adapters(&first, &second, base.as_ref(), &options, monitor)?;
        match report_path {
            Some(path) if is_page(&path) => save_page(&render_adapter_diff(&found), &path, force, monitor)?,
            Some(path) => save_adapter_diff(&found, &path, force, monitor)?,
            None => {}
        }
        Ok(found)
    })?;
    tell(asked.difference, asked.user, &found.modules);
    Ok(Diff::from(&found))
}
