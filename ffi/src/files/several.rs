//! phlora_extract_several.

use super::call::{Failure, Named, job, path, paths, watched};
use super::extract::Settings;
use super::file_options::FileOptions;
use super::module::tell;
use super::report::FileReport;
use super::values::format;
use crate::guard::{In, Out};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_char;
use core::mem::size_of;
use phlora::{Error, ExtractJob, Model, Monitor, Outline, Output, PartFiles, Saved, Work, render_page};
use std::path::PathBuf;

/// Extracts an adapter of each of several fine-tunes of one base: `phlora extract BASE TUNED…`, with the same bits as
/// phlora_extract_files for each. The base is read once for all of them. What headers and options tell is refused before any
/// weight is read, with nothing written; a fine-tune that fails later does not stop the others. Allocates and starts threads.
///
/// - `base`: as for phlora_extract_files.
/// - `tuned`, `adapters`, `len`: each fine-tune, and the adapter to create of it; at least one, all of one format.
/// - `options`: see phlora_file_options; NULL: all defaults. No shard and no `join`. With `report_path` REPORT.json each
///   adapter's report is REPORT-NAME.json, where NAME is the last part of the adapter's path. `module` is told of the modules
///   of each fine-tune in their order.
/// - `statuses`: `len` places for what became of each fine-tune, written with `reports`: whenever any of them was worked on.
/// - `reports`, `report_size`: `len` times sizeof(phlora_file_report), with several ranks one for each rank of each fine-tune;
///   all 0 but for `struct_size` where a fine-tune failed.
/// - `message`, `message_len`: as for phlora_extract_files; each failure is a line.
///
/// Any thread. Returns OK where all have their adapters, else the status of the first that failed; NULL_POINTER, MISALIGNED,
/// OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, BAD_TEXT, BAD_OPTION, IO, FORMAT, MISMATCH, EXISTS, NOTHING_TO_EXTRACT,
/// CANCELLED, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_extract_several(
    base: In<c_char>,
    tuned: In<In<c_char>>,
    adapters: In<In<c_char>>,
    len: usize,
    options: In<FileOptions>,
    statuses: Out<u32>,
    reports: Out<FileReport>,
    report_size: usize,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let asked = guard.sized_or_default(options).of("options")?;
        let ranks = guard.list_among(asked.ranks, asked.ranks_len).of("ranks")?;
        let each = ranks.len().max(1);
        let count = each.checked_mul(len).ok_or(Status::TooLarge).of("reports")?;
        let mut slots = guard.sized_slots(reports, report_size, count).of("reports")?;
        let statuses = guard.output(statuses, len).of("statuses")?;
        let asked = if options.is_null() { asked } else { guard.sized_among(options).of("options")? };
        let base = path(guard, "base", base)?;
        let tuned = paths(guard, "tuned", tuned, len)?;
        let adapters = paths(guard, "adapters", adapters, len)?;
        let Some(first) = adapters.first() else {
            return Err(Failure::option("tuned", "expected at least one"));
        };
        let settings = asked.settings(guard, ranks, first)?;
        for adapter in &adapters {
            if format(asked.format, adapter)? != settings.options.format {
                return Err(Failure::option("adapters", "expected one format for all of them"));
            }
        }
        if !matches!(settings.files.work, Work::Rest) {
            return Err(Failure::option("shard_count, join", "a shard is of one fine-tune"));
        }
        if asked.dry_run != 0 && asked.resume != 0 {
            return Err(Failure::option("dry_run", "nothing is kept of it: no resume"));
        }
        let several =
            Several { base, tuned, adapters, settings, force: asked.force != 0, resume: asked.resume != 0 };
        let struct_size = report_size.min(size_of::<FileReport>());
        if asked.dry_run != 0 {
            let outlines = watched(asked.progress, asked.user, |monitor| several.outlines(monitor))?;
            statuses.fill(Status::Ok as u32);
            for (outline, slot) in outlines.iter().zip(slots) {
                slot.write(FileReport { struct_size, ..FileReport::from(outline) });
            }
            return Ok(several.settings.notes.join("\n"));
        }
        let results = watched(asked.progress, asked.user, |monitor| several.run(monitor))?;
        let (mut said, mut failed) = (several.settings.notes.clone(), Vec::new());
        for ((result, tuned), status) in results.into_iter().zip(&several.tuned).zip(statuses) {
            let mut reports = vec![FileReport::DEFAULT; each];
            *status = match result {
                Ok(saved) => {
                    for (Saved { report, .. }, slot) in saved.iter().zip(&mut reports) {
                        said.extend(report.notes.iter().map(ToString::to_string));
                        tell(asked.module, asked.user, &report.modules);
                        *slot = FileReport::from(report);
                    }
                    Status::Ok as u32
                }
                Err(error) => {
                    let Failure { status, text } = Failure::from(error);
                    failed.push((status, format!("no adapter of {}: {text}", tuned.display())));
                    status as u32
                }
            };
            for (report, slot) in reports.into_iter().zip(&mut slots) {
                slot.write(FileReport { struct_size, ..report });
            }
        }
        let Some(&(status, _)) = failed.first() else { return Ok(said.join("\n")) };
        let lines: Vec<_> = failed.into_iter().map(|(_, line)| line).collect();
        Err(Failure { status, text: lines.join("\n") })
    })
}

/// The fine-tunes, and what is asked of each.
struct Several {
    base: PathBuf,
    tuned: Vec<PathBuf>,
    adapters: Vec<PathBuf>,
    settings: Settings,
    force: bool,
    resume: bool,
}

impl Several {
    /// Does something with the jobs, whose base is open once.
    fn with_jobs<T>(&self, work: impl FnOnce(&[ExtractJob<'_>]) -> Result<T, Error>) -> Result<T, Error> {
        let base = Model::open(&self.base)?;
        let deployed = self.settings.deployed.as_deref().map(Model::open).transpose()?;
        let mut jobs = Vec::new();
        for (tuned, adapter) in self.tuned.iter().zip(&self.adapters) {
            let mut files = self.settings.files.clone();
            files.own = self.resume.then(|| PartFiles::beside(adapter));
            let job = self.settings.job(&base, tuned).part_files(files);
            jobs.push(match &deployed {
                Some(deployed) => job.deployed_base(deployed),
                None => job,
            });
        }
        work(&jobs)
    }

    /// What would be written, for all ranks of each fine-tune.
    fn outlines(&self, monitor: &Monitor) -> Result<Vec<Outline>, Error> {
        self.with_jobs(|jobs| {
            let outlines: Result<Vec<_>, _> = jobs.iter().map(|job| job.outline(monitor)).collect();
            Ok(outlines?.into_iter().flatten().collect())
        })
    }

    fn run(&self, monitor: &Monitor) -> Result<Vec<Result<Vec<Saved>, Error>>, Error> {
        let output = |adapter: &PathBuf| {
            let report = self.settings.report.as_deref();
            let report =
                report.map(|path| Output::report_beside(path, adapter, self.settings.options.format));
            Output::new(adapter).report(report).page(render_page).force(self.force)
        };
        let outputs: Vec<_> = self.adapters.iter().map(output).collect();
        self.with_jobs(|jobs| ExtractJob::run_together(jobs, &outputs, monitor))
    }
}
