//! phlora_extract_files.

use super::call::{Failure, Named, job, path, path_or_none, share, text_or_none, watched};
use super::file_options::FileOptions;
use super::filter::{Modules, patterns};
use super::module::tell;
use super::ranks::Ranks;
use super::report::FileReport;
use super::values::{also, factors, format, names, server};
use super::work::Asked;
use crate::guard::{Guard, In, Out};
use crate::options::mode;
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_char;
use core::mem::size_of;
use phlora::{
    AdapterFormat, Error, ExtractJob, ExtractOptions, Input, Output, PartFiles, Policy, Work,
    available_threads, render_page,
};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

impl FileOptions {
    const fn modules(&self) -> Modules {
        Modules {
            include: self.include,
            include_len: self.include_len,
            exclude: self.exclude,
            exclude_len: self.exclude_len,
            channel_scale: self.channel_scale,
            tolerance: self.tolerance,
        }
    }

    const fn ranks<'c>(&self, ranks: &'c [usize]) -> Ranks<'c> {
        Ranks {
            rank: self.rank,
            several: ranks,
            energy: self.energy,
            total_energy: self.total_energy,
            budget: self.budget,
            noise_floor: self.noise_floor,
            max_rank: self.max_rank,
            multiple: self.multiple,
            uniform: self.uniform,
            criterion: self.criterion,
        }
    }

    const fn work(&self) -> Asked {
        Asked {
            shard_index: self.shard_index,
            shard_count: self.shard_count,
            parts: self.parts,
            parts_len: self.parts_len,
            join: self.join,
            resume: self.resume,
            fresh: self.fresh,
        }
    }

    /// The checkpoint's options but for the ranks, and what a server makes of them.
    fn checked(&self, guard: &mut Guard<'_>, adapter: &Path) -> Result<ExtractOptions, Failure> {
        let mut checked = self.modules().options(guard)?;
        checked.save = patterns(guard, "save_module", self.save_module, self.save_module_len)?;
        checked.mode = mode(self.mode).of("mode")?;
        checked.format = format(self.format, adapter)?;
        let dtype = factors(self.dtype, checked.format)?;
        checked.dtype = dtype.unwrap_or(checked.dtype);
        checked.choose_dtype = dtype.is_none();
        checked.base_name = text_or_none(guard, "base_name", self.base_name)?.map(str::to_owned);
        checked.prefix = text_or_none(guard, "prefix", self.prefix)?.map(str::to_owned);
        checked.max_reads = if self.max_reads > 0 { self.max_reads } else { checked.max_reads };
        checked.scratch = (self.max_memory > 0).then_some(self.max_memory);
        checked.memory = (self.total_memory > 0).then_some(self.total_memory);
        checked.threads = NonZeroUsize::new(self.threads).unwrap_or_else(available_threads);
        checked.chunk_bytes = if self.chunk_bytes > 0 { self.chunk_bytes } else { checked.chunk_bytes };
        checked.also = also(self.also)?;
        checked.token_energy = share("token_energy", self.token_energy, checked.token_energy)?;
        Ok(checked)
    }

    /// What is asked for, of an adapter at `adapter`.
    pub(super) fn settings(
        &self,
        guard: &mut Guard<'_>,
        ranks: &[usize],
        adapter: &Path,
    ) -> Result<Settings, Failure> {
        let mut checked = self.checked(guard, adapter)?;
        let choice = self.ranks(ranks);
        let (policy, ranks) = choice.policy()?;
        // The configuration of mlx-lm states one rank.
        let uniform = policy.uniform || checked.format == AdapterFormat::Mlx;
        checked.policy = Policy { uniform, ..policy };
        let server = server(self.server)?;
        let changed = server.map_or_else(Vec::new, |server| server.adjust(&mut checked));
        let notes = changed.iter().map(|note| format!("for this server: {note}")).collect();
        checked.names = names(self.names)?.unwrap_or(checked.names);
        Ok(Settings {
            options: checked,
            ranks: ranks.to_vec(),
            files: self.work().files(guard, adapter)?,
            deployed: path_or_none(guard, "deployed_base", self.deployed_base)?,
            report: path_or_none(guard, "report_path", self.report_path)?,
            notes,
        })
    }
}

/// What [`FileOptions`] ask for.
pub(super) struct Settings {
    pub options: ExtractOptions,
    /// Several ranks, or none.
    pub ranks: Vec<usize>,
    pub files: PartFiles,
    pub deployed: Option<PathBuf>,
    pub report: Option<PathBuf>,
    /// What a server has changed.
    pub notes: Vec<String>,
}

impl Settings {
    /// The job on two models.
    pub(super) fn job<'m>(&'m self, base: impl Into<Input<'m>>, tuned: &'m Path) -> ExtractJob<'m> {
        ExtractJob::new(base, tuned)
            .options(self.options.clone())
            .ranks(&self.ranks)
            .part_files(self.files.clone())
    }
}

/// Extracts an adapter from two models: `phlora extract BASE TUNED -o ADAPTER`, with the same
/// bits. Nothing is left behind unless it succeeds. Allocates and starts threads.
///
/// - `base`, `tuned`: a `.safetensors` file, a sharded or a Hugging Face directory, or a GGUF file, split or not.
/// - `adapter`: the directory to create, or the file where its name ends in `.gguf` or `.phlora` or the options say so.
/// - `options`: see phlora_file_options; NULL: all defaults.
/// - `report`, `report_size`: written on success; sizeof(phlora_file_report). With several ranks an array, one for each.
/// - `message`, `message_len`: receives the error's text, which names the argument, or file and tensor; on success what
///   there is to be known, one remark a line, or an empty text. Always ends with a zero byte, cut where it is too long.
///   NULL and 0: no text.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION,
/// IO, FORMAT, MISMATCH, EXISTS, NOTHING_TO_EXTRACT, CANCELLED, UNFINISHED (tensors are missing), INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_extract_files(
    base: In<c_char>,
    tuned: In<c_char>,
    adapter: In<c_char>,
    options: In<FileOptions>,
    report: Out<FileReport>,
    report_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        // Outputs are named before all that is read; how many there are, the options say.
        let asked = guard.sized_or_default(options).of("options")?;
        let ranks = guard.list_among(asked.ranks, asked.ranks_len).of("ranks")?;
        let slots = guard.sized_slots(report, report_size, ranks.len().max(1)).of("report")?;
        let asked = if options.is_null() { asked } else { guard.sized_among(options).of("options")? };
        let models = [path(guard, "base", base)?, path(guard, "tuned", tuned)?];
        let adapter = path(guard, "adapter", adapter)?;
        let settings = asked.settings(guard, ranks, &adapter)?;
        let mut found = settings.job(models[0].as_path(), &models[1]);
        if let Some(deployed) = settings.deployed.as_deref() {
            found = found.deployed_base(deployed);
        }
        let (work, mut notes) = (settings.files.work, settings.notes.clone());
        let struct_size = report_size.min(size_of::<FileReport>());
        if asked.dry_run != 0 {
            if asked.resume != 0 || matches!(work, Work::Shard(_)) {
                return Err(Failure::option("dry_run", "nothing is kept of it: no shard, no resume"));
            }
            let outlines = watched(asked.progress, asked.user, |monitor| found.outline(monitor))?;
            for (outline, slot) in outlines.iter().zip(slots) {
                slot.write(FileReport { struct_size, ..FileReport::from(outline) });
            }
            return Ok(notes.join("\n"));
        }
        if let Work::Shard(_) = work {
            if settings.report.is_some() {
                return Err(Failure::option("report_path", "a shard has no report"));
            }
            let kept = watched(asked.progress, asked.user, |monitor| found.keep_shard(monitor));
            let missing = match kept {
                Ok(()) => 0,
                Err(Error::Unfinished { missing, .. }) => missing as u64,
                Err(error) => return Err(error.into()),
            };
            slots.for_each(|slot| slot.write(FileReport { struct_size, missing, ..FileReport::DEFAULT }));
            return Ok(notes.join("\n"));
        }
        let output =
            Output::new(adapter).report(settings.report.clone()).page(render_page).force(asked.force != 0);
        let saved = watched(asked.progress, asked.user, |monitor| found.run(&output, monitor))?;
        for (saved, slot) in saved.iter().zip(slots) {
            notes.extend(saved.report.notes.iter().map(ToString::to_string));
            tell(asked.module, asked.user, &saved.report.modules);
            slot.write(FileReport { struct_size, ..FileReport::from(&saved.report) });
        }
        Ok(notes.join("\n"))
    })
}
