//! `phlora extract`.

use crate::args::{AlsoArg, ExtractArgs, FormatArg, check_bits};
use crate::destination::{self, Destination, check_stdout, is_stdout};
use crate::dry_run;
use crate::extracted::{Said, as_json, tell};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::invocation;
use crate::modelfile;
use crate::print;
use crate::progress::with_bar;
use crate::reported::{quoted, typed};
use crate::say;
use crate::several;
use crate::shard::ShardArg;
use phlora::{
    AdapterFormat, Error, ExtractJob, Output, PartFiles, Policy, Server, Shard, Work, available_threads,
    render_page,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let shard = args.work.shard.map(ShardArg::find).transpose().map_err(Failure::Usage)?;
    execute(args, shard.map_or(Work::Rest, Work::Shard))
}

/// Extracts what `work` says, the rest being in part files.
pub fn execute(args: &ExtractArgs, work: Work) -> Result<ExitCode, Failure> {
    let (policy, ranks) = args.ranks.policy();
    let format = FormatArg::of(args.format, &args.output, FormatArg::FILES)?;
    check_stdout(&args.output, format, args.saved.json)?;
    if args.tuned.len() > 1 {
        several::check(args)?;
    }
    modelfile::check(args.modelfile.as_deref(), format, &args.output, ranks.len() > 1, args.saved.force)?;
    check_bits(format, args.dtype)?;
    let mut options = args.what.options()?;
    // Its configuration states one rank.
    let uniform = policy.uniform || format == AdapterFormat::Mlx;
    options.policy = Policy { uniform, ..policy };
    options.save.clone_from(&args.save_module);
    options.mode = args.mode.into();
    options.dtype = args.dtype.map_or(options.dtype, Into::into);
    options.choose_dtype = args.dtype.is_none();
    options.format = format;
    options.prefix.clone_from(&args.prefix);
    options.max_reads = args.max_reads;
    options.scratch = args.scratch;
    // The other half is for the weights that are held.
    let mut models = [&args.base].into_iter().chain(&args.tuned).chain(&args.deployed_base);
    let remote = models.any(|path| phlora::is_address(path));
    options.memory = args.memory.map(|memory| if remote { memory / 2 } else { memory });
    options.threads = args.threads.unwrap_or_else(available_threads);
    options.also = AlsoArg::all(&args.also);
    options.token_energy = args.token_energy;
    if let Some(server) = args.server {
        for note in Server::from(server).adjust(&mut options) {
            complain(&format!("for this server: {note}"));
        }
    }
    options.names = args.names.map_or(options.names, Into::into);
    options.base_name.clone_from(&args.saved.base_name);
    let mut files = PartFiles::new(work);
    files.own = own_part_file(args, work);
    files.others.clone_from(&args.work.parts);
    files.command = invocation::arguments();
    files.fresh = args.work.fresh;
    interrupt::keeps(files.own.iter().cloned().collect());
    let monitor = interrupt::monitor();
    say::detail(|| {
        format!(
            "{} threads; {} to {}",
            args.threads.unwrap_or_else(available_threads),
            format.name(),
            args.output.display()
        )
    });
    let [tuned] = args.tuned.as_slice() else {
        return several::run(args, &options, ranks, &files, &monitor);
    };
    let mut job = ExtractJob::new(args.base.as_path(), tuned.as_path());
    if let Some(deployed) = args.deployed_base.as_deref() {
        job = job.deployed_base(deployed);
    }
    let job = job.options(options).ranks(ranks).part_files(files);
    if args.dry_run {
        return dry_run::run(&[job], std::slice::from_ref(&args.output), args, &monitor);
    }
    if let Work::Shard(shard) = work {
        let found = with_bar(&monitor, "extracting", args.saved.json, || job.keep_shard(&monitor));
        return finished(shard, found, args);
    }
    let to_stdout = args.saved.report.as_deref().is_some_and(is_stdout);
    if is_stdout(&args.output) && (ranks.len() > 1 || to_stdout) {
        let problem = "standard output takes one output: give files for the others";
        return Err(Failure::Usage(problem.into()));
    }
    if to_stdout {
        destination::take_stdout()?;
    }
    let place = Destination::of(&args.output, format.file_name())?;
    let report = args.saved.report.clone().filter(|_| !to_stdout);
    let output = Output::new(place.path())
        .report(report)
        .page(render_page)
        .command(Some(typed()))
        .asked(Some(asked(args, tuned)))
        .force(args.saved.force);
    let json = args.saved.json || to_stdout;
    let saved = with_bar(&monitor, "extracting", args.saved.json, || job.run(&output, &monitor))?;
    let shown = is_stdout(&args.output).then(|| place.shown());
    tell(&saved, args, &Said { shown, of: None, gap: false })?;
    if json {
        print::json(&as_json(&saved, args.saved.json))?;
    }
    if let Some(from) = &args.modelfile {
        let path = modelfile::write(from, &args.output, args.saved.force, &interrupt::writing())?;
        if !args.saved.json {
            say::summary(&modelfile::said(&path))?;
        }
    }
    place.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The command without paths of this machine, for the model card.
pub fn asked(args: &ExtractArgs, tuned: &Path) -> String {
    let name = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        quoted(&name.unwrap_or_else(|| "MODEL".to_owned()))
    };
    let words = if args.asked.is_empty() { String::new() } else { format!(" {}", args.asked) };
    format!("phlora extract {} {} -o ADAPTER{words}", name(&args.base), name(tuned))
}

/// The file that keeps what is found, if one does.
fn own_part_file(args: &ExtractArgs, work: Work) -> Option<PathBuf> {
    match work {
        Work::Shard(_) => Some(args.output.clone()),
        _ => args.work.resume.then(|| PartFiles::beside(&args.output)),
    }
}

/// Says what is left to do after a shard.
fn finished(shard: Shard, found: Result<(), Error>, args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let part = args.output.display();
    let (missing, next) = match found {
        Ok(()) => (0, "nothing is missing: phlora join makes the adapter".to_owned()),
        Err(Error::Unfinished { missing, .. }) => {
            (missing, format!("{missing} tensors are for the other shards"))
        }
        Err(error) => return Err(error.into()),
    };
    if args.saved.json {
        print::json(&json!({"part": args.output, "share": shard.to_string(), "missing": missing}))?;
    } else {
        say::summary(&format!("shard {shard} is in {part}; {next}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
