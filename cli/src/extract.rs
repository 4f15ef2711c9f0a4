//! `phlora extract`.

use crate::advice;
use crate::args::{AlsoArg, ExtractArgs, FormatArg, check_bits};
use crate::destination::{self, Destination, check_stdout, is_stdout};
use crate::dry_run;
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::invocation;
use crate::modelfile;
use crate::print::{self, bytes, count, percent, seconds};
use crate::progress::with_bar;
use crate::reported::{quoted, typed};
use crate::say;
use crate::share::ShareArg;
use crate::spark;
use crate::summary::{self, Line};
use phlora::{
    AdapterFormat, Error, ExtractJob, ModuleReport, Output, PartFiles, Policy, PolicyReport, Report, Saved,
    Server, Shard, Work, available_threads, render_page,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Names at most this many modules that did not converge.
const NAMED: usize = 5;

/// The format of a report of the compact form, whose codes are meant to be coarse: its energies are those after them.
const COMPACT: &str = "compact";

/// Share of ‖Δ‖² that rounding may take in silence: half of what the default tolerance leaves.
const COARSE: f64 = 5e-4;

pub fn run(args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let share = args.work.shard.map(ShareArg::find).transpose().map_err(Failure::Usage)?;
    execute(args, share.map_or(Work::Rest, Work::Share))
}

/// Extracts what `work` says, the rest being in parts.
pub fn execute(args: &ExtractArgs, work: Work) -> Result<ExitCode, Failure> {
    let (policy, ranks) = args.ranks.policy();
    let format = FormatArg::of(args.format, &args.output)?;
    check_stdout(&args.output, format, args.saved.json)?;
    modelfile::check(args.modelfile.as_deref(), format, &args.output, ranks.len() > 1)?;
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
    let remote = [Some(&args.base), Some(&args.tuned), args.deployed_base.as_ref()];
    let remote = remote.into_iter().flatten().any(|path| phlora::is_address(path));
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
    let mut parts = PartFiles::new(work);
    parts.own = own_part(args, work);
    parts.others.clone_from(&args.work.parts);
    parts.command = invocation::arguments();
    parts.fresh = args.work.fresh;
    let mut job = ExtractJob::new(args.base.as_path(), args.tuned.as_path());
    if let Some(deployed) = args.deployed_base.as_deref() {
        job = job.deployed_base(deployed);
    }
    let job = job.options(options).ranks(ranks).parts(parts);
    let monitor = interrupt::monitor();
    say::detail(|| {
        format!(
            "{} threads; {} to {}",
            args.threads.unwrap_or_else(available_threads),
            format.name(),
            args.output.display()
        )
    });
    if args.dry_run {
        return dry_run::run(&job, args, &monitor);
    }
    if let Work::Share(share) = work {
        let found = with_bar(&monitor, "extracting", args.saved.json, || job.keep_share(&monitor));
        return finished(share, found, args);
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
        .asked(Some(asked(args)))
        .force(args.saved.force);
    let json = args.saved.json || to_stdout;
    let saved = with_bar(&monitor, "extracting", args.saved.json, || job.run(&output, &monitor))?;
    for (i, Saved { path, report, .. }) in saved.iter().enumerate() {
        warn(report);
        report.notes.iter().for_each(|note| complain(&advice::note(note)));
        let shown = if is_stdout(&args.output) { place.shown() } else { path.display().to_string() };
        if !args.saved.json {
            let gap = if i > 0 { "\n" } else { "" };
            say::summary(&[gap, &text(report, args, &shown)].concat())?;
        }
    }
    if json {
        print::json(&as_json(&saved, args))?;
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
fn asked(args: &ExtractArgs) -> String {
    let name = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        quoted(&name.unwrap_or_else(|| "MODEL".to_owned()))
    };
    let words = if args.asked.is_empty() { String::new() } else { format!(" {}", args.asked) };
    format!("phlora extract {} {} -o ADAPTER{words}", name(&args.base), name(&args.tuned))
}

/// What was written: the report alone where that is what standard output was named for.
fn as_json(saved: &[Saved], args: &ExtractArgs) -> Value {
    let report = |saved: &Saved| print::value(serde_json::to_string(&saved.report));
    match saved {
        [only] if !args.saved.json => report(only),
        all => {
            let one = |saved: &Saved| json!({"path": saved.path, "report": report(saved)});
            json!({"adapters": all.iter().map(one).collect::<Vec<_>>()})
        }
    }
}

/// The file that keeps what is found, if one does.
fn own_part(args: &ExtractArgs, work: Work) -> Option<PathBuf> {
    match work {
        Work::Share(_) => Some(args.output.clone()),
        _ => args.work.resume.then(|| PartFiles::beside(&args.output)),
    }
}

/// Says what is left to do after a share.
fn finished(share: Shard, found: Result<(), Error>, args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let part = args.output.display();
    let (missing, next) = match found {
        Ok(()) => (0, "nothing is missing: phlora join makes the adapter".to_owned()),
        Err(Error::Unfinished { missing, .. }) => {
            (missing, format!("{missing} tensors are for the other shares"))
        }
        Err(error) => return Err(error.into()),
    };
    if args.saved.json {
        print::json(&json!({"part": args.output, "share": share.to_string(), "missing": missing}))?;
    } else {
        say::summary(&format!("share {share} is in {part}; {next}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Names the modules whose factors may be worse than they could be, and what is lost that an option would keep.
fn warn(report: &Report) {
    for tensor in report.left_out.iter().filter(|tensor| tensor.reason.contains(" rows in base, ")) {
        complain(&format!(
            "{}: {}; --also new-tokens stores the rows that are new, --also tokens all that changed",
            tensor.name, tensor.reason
        ));
    }

    let name_all = |what: &str, concerned: &dyn Fn(&ModuleReport) -> bool| {
        let names: Vec<_> = report.modules.iter().filter(|m| concerned(m)).map(|m| m.name.as_str()).collect();
        if !names.is_empty() {
            let shown = names[..names.len().min(NAMED)].join(", ");
            let more = if names.len() > NAMED {
                format!(" and {} more", names.len() - NAMED)
            } else {
                String::new()
            };
            complain(&format!("{what}: {shown}{more}"));
        }
    };
    name_all(
        "not converged, the energy could be a little higher with more reads or scratch",
        &|module: &ModuleReport| !module.converged,
    );
    match report.dtype.as_str() {
        "f32" | "f16" | "bf16" => name_all(
            "the format of the factors is too coarse, so that they keep less than the energy says; \
             see verify, --dtype bf16 or f32",
            &|module: &ModuleReport| module.rounding_loss > COARSE,
        ),
        // The energies that are shown are those after it.
        COMPACT => {}
        // Few bits are chosen for their size: what they take from the energies is said once.
        dtype => {
            let all: f64 = report.modules.iter().map(|m| m.delta_norm.powi(2)).sum();
            let lost: f64 = report.modules.iter().map(|m| m.rounding_loss * m.delta_norm.powi(2)).sum();
            if lost > COARSE * all {
                let lost = percent(lost / all);
                complain(&format!(
                    "energies are those before rounding: {dtype} takes {lost} of ‖Δ‖² from them"
                ));
            }
        }
    }
}

fn text(report: &Report, args: &ExtractArgs, shown: &str) -> String {
    let coded = |module: &ModuleReport| if report.dtype == COMPACT { module.rounding_loss } else { 0.0 };
    let lines: Vec<_> = report
        .modules
        .iter()
        .map(|m| Line {
            name: &m.name,
            shape: m.shape,
            rank: m.rank,
            energy: m.energy - coded(m),
            sum_squares: m.delta_norm.powi(2),
            reads: Some(m.reads),
        })
        .collect();
    let total = &report.total;
    let lost: f64 = report.modules.iter().map(|module| coded(module) * module.delta_norm.powi(2)).sum();
    let energy = total.energy - lost / total.delta_norm.powi(2);
    let kept = format!(
        "\n{} of the whole difference kept\n{} of ‖Δ‖² kept over {} modules: {} weights in, {} out\n",
        percent(total.whole_energy.unwrap_or(energy)),
        percent(energy),
        lines.len(),
        count(total.parameters_in),
        count(total.parameters_out)
    );
    let weighed = report.modules.iter().filter(|module| module.weighed).count();
    let weighed = if weighed > 0 {
        format!("Δ stands for Δ·diag(s) in {weighed} modules, s being the scales of their input channels\n")
    } else {
        String::new()
    };
    let parts = match (total.tuning_norm, total.repair_norm) {
        (Some(tuning), Some(repair)) => {
            let share = |norm: f64| percent(norm * norm / (tuning * tuning + repair * repair));
            format!(
                "{} of ‖Δ‖² is fine-tuning, {} repair of the deployed base\n",
                share(tuning),
                share(repair)
            )
        }
        _ => String::new(),
    };
    let rank = lines.iter().map(|line| line.rank).max().unwrap_or(0);
    let policy = report.policy.as_ref();
    // Only a rank that was given for all can be above a module's narrower side.
    let asked = policy.filter(|policy| policy.goal == "rank").and_then(|policy| policy.max_rank).unwrap_or(0);
    let capped = lines.iter().filter(|line| line.rank < asked).count();
    let capped = match (capped, policy) {
        (0, Some(policy)) if policy.goal != "rank" => {
            let least = lines.iter().map(|line| line.rank).min().unwrap_or(0);
            let multiple = policy.multiple;
            let form = if multiple > 1 { format!(", in multiples of {multiple}") } else { String::new() };
            format!("ranks from {least} to {rank}{form}, chosen by {}\n", goal(policy))
        }
        (0, _) => String::new(),
        _ => format!(
            "rank {asked} is above the narrower side of {capped} modules, which are capped there; \
             the adapter has rank {rank}\n",
        ),
    };
    let cost = format!(
        "\nread {} in {}, wrote {} to {}\n",
        bytes(report.bytes_in),
        seconds(report.seconds),
        bytes(report.bytes_out),
        shown
    );
    let modules = summary::modules(&lines, args.saved.modules, asked);
    let spectra = ["\n", &spark::by_kind(&report.modules)].concat();
    let full = summary::full(report);
    let left_out = summary::left_out(report);
    let gap = |text: &str| if text.is_empty() { "" } else { "\n" };
    let tables = [gap(&full), &full, gap(&left_out), &left_out].concat();
    [modules.as_str(), &spectra, &kept, &weighed, &parts, &capped, &tables, &cost].concat()
}

/// What the ranks were chosen by.
fn goal(policy: &PolicyReport) -> String {
    match (policy.goal.as_str(), policy.value) {
        ("energy", Some(share)) => format!("an energy of {} in each module", percent(share)),
        ("total energy", Some(share)) => format!("an energy of {} over all modules", percent(share)),
        #[allow(clippy::cast_sign_loss)] // a size
        ("budget", Some(size)) => format!("a budget of {}", bytes(size.max(0.0) as u64)),
        ("noise floor", _) => "the noise floor of each module".to_owned(),
        (goal, _) => goal.to_owned(),
    }
}
