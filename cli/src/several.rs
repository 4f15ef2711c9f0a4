//! `phlora extract` of several fine-tunes of one base: an adapter for each, in one directory.

mod names;

use crate::args::ExtractArgs;
use crate::destination::{self, is_stdout};
use crate::dry_run;
use crate::extract::asked;
use crate::extracted::{Said, as_json, tell};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print;
use crate::progress::with_bar;
use crate::reported::typed;
use crate::say;
use names::names;
use phlora::{
    AdapterFormat, Error, ExtractJob, ExtractOptions, Model, Monitor, Output, PartFiles, render_page,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Refuses what several fine-tunes cannot have.
///
/// # Errors
/// When it is asked for.
pub fn check(args: &ExtractArgs) -> Result<(), Failure> {
    let refused = |problem: &str| Err(Failure::Usage(format!("several fine-tunes: {problem}")));
    if args.work.shard.is_some() {
        return refused("a shard is of one extraction; run it for each of them");
    }
    if args.modelfile.is_some() {
        return refused("a Modelfile stands beside one adapter; extract that one alone");
    }
    let to_stdout = args.saved.report.as_deref().is_some_and(is_stdout);
    if is_stdout(&args.output) || to_stdout {
        return refused("standard output takes one output; name places for them");
    }
    if AdapterFormat::of_path(&args.output) != AdapterFormat::Peft || args.output.is_file() {
        let output = args.output.display();
        return refused(&format!(
            "{output} names a file; name a directory, in which --format says what each adapter is"
        ));
    }
    Ok(())
}

/// Extracts an adapter of each fine-tune.
///
/// # Errors
/// What is wrong before any weight is read, and standard output.
pub fn run(
    args: &ExtractArgs,
    options: &ExtractOptions,
    ranks: &[usize],
    parts: &PartFiles,
    monitor: &Monitor,
) -> Result<ExitCode, Failure> {
    let names = names(&args.tuned)?;
    let base = Model::open(&args.base)?;
    let deployed = args.deployed_base.as_deref().map(Model::open).transpose()?;
    let (mut jobs, mut outputs) = (Vec::new(), Vec::new());
    for (name, tuned) in names.iter().zip(&args.tuned) {
        let place = place(&args.output, name, options.format);
        let mut parts = parts.clone();
        parts.own = args.work.resume.then(|| PartFiles::beside(&place));
        let mut job = ExtractJob::new(&base, tuned.as_path());
        if let Some(deployed) = &deployed {
            job = job.deployed_base(deployed);
        }
        jobs.push(job.options(options.clone()).ranks(ranks).part_files(parts));
        let report = args.saved.report.as_deref();
        let report = report.map(|report| Output::report_beside(report, &place, options.format));
        let output = Output::new(place).report(report).page(render_page).command(Some(typed()));
        outputs.push(output.asked(Some(asked(args, tuned))).force(args.saved.force));
    }
    if args.dry_run {
        let places: Vec<_> = outputs.iter().map(|output| output.path.clone()).collect();
        return dry_run::run(&jobs, &places, args, monitor);
    }
    if args.work.resume {
        interrupt::keeps(outputs.iter().map(|output| PartFiles::beside(&output.path)).collect());
    }
    let _made = destination::make(&args.output)?;
    let results = with_bar(monitor, "extracting", args.saved.json, || {
        ExtractJob::run_together(&jobs, &outputs, monitor)
    })?;
    let (mut adapters, mut failed, mut code) = (Vec::new(), Vec::new(), 0);
    for (tuned, result) in args.tuned.iter().zip(results) {
        match result {
            Ok(saved) => {
                tell(&saved, args, &Said { shown: None, of: Some(tuned), gap: !adapters.is_empty() })?;
                adapters.extend(saved);
            }
            Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
            Err(error) => {
                let failure = Failure::from(error);
                code = code.max(failure.code());
                failed.push((tuned, failure.message()));
            }
        }
    }
    if args.saved.json {
        let mut found = as_json(&adapters, true);
        let one = |(tuned, error): &(&PathBuf, String)| json!({"tuned": tuned, "error": error});
        found["failed"] = failed.iter().map(one).collect();
        print::json(&found)?;
    }
    let total = args.tuned.len();
    for (tuned, error) in &failed {
        complain(&format!("no adapter of {}: {error}", tuned.display()));
    }
    if !failed.is_empty() {
        let (lost, output) = (failed.len(), args.output.display());
        complain(&format!(
            "{} of {total} fine-tunes have adapters in {output}, {lost} have none",
            total - lost
        ));
    } else if !args.saved.json {
        say::summary(&format!("\n{total} fine-tunes have adapters in {}\n", args.output.display()))?;
    }
    Ok(ExitCode::from(code))
}

/// Where the adapter of a fine-tune goes.
fn place(directory: &Path, name: &str, format: AdapterFormat) -> PathBuf {
    let extension = Path::new(format.file_name()).extension().filter(|_| format.is_file());
    let mut name = name.to_owned();
    if let Some(extension) = extension {
        name.push('.');
        name.push_str(&extension.to_string_lossy());
    }
    directory.join(name)
}
