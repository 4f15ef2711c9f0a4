//! `phlora extract`.

use crate::args::{AlsoArg, ExtractArgs, FormatArg, check_bits};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{bytes, count, percent, print, seconds};
use crate::progress::with_bar;
use crate::share::ShareArg;
use crate::spark;
use crate::summary::{self, Line};
use phlora_checkpoint::{
    Error, ExtractOptions, Identity, Model, ModuleReport, Output, Parts, PolicyReport, Report, Server, Shard,
    Work, available_threads, extract, extract_deployed, extract_ranks, save,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

/// Names at most this many modules that did not converge.
const NAMED: usize = 5;

/// The format of a report of the compact form, whose codes are meant to be coarse: its energies are those after them.
const COMPACT: &str = "compact";

/// Share of ‖Δ‖² that rounding may take in silence: half of what the default tolerance leaves.
const COARSE: f64 = 5e-4;

pub fn run(args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let share = args.work.shard.map(ShareArg::find).transpose().map_err(Error::Usage)?;
    execute(args, share.map_or(Work::Rest, Work::Share))
}

/// Extracts what `work` says, the rest being in parts.
pub fn execute(args: &ExtractArgs, work: Work) -> Result<ExitCode, Failure> {
    let (policy, ranks) = args.ranks.policy();
    let format = FormatArg::of(args.format, &args.output)?;
    check_bits(format, args.dtype)?;
    let mut options = ExtractOptions {
        policy,
        mode: args.mode.into(),
        dtype: args.dtype.map_or(ExtractOptions::default().dtype, Into::into),
        choose_dtype: args.dtype.is_none(),
        format,
        prefix: args.prefix.clone(),
        max_reads: args.max_reads,
        scratch: args.scratch,
        threads: args.threads.unwrap_or_else(available_threads),
        also: AlsoArg::all(&args.also),
        token_energy: args.token_energy,
        ..args.what.options()?
    };
    if let Some(server) = args.server {
        for note in Server::from(server).adjust(&mut options) {
            complain(&format!("for this server: {note}"));
        }
    }
    options.names = args.names.map_or(options.names, Into::into);
    let outputs = outputs(args, ranks);
    let monitor = interrupt::monitor();
    let share = if let Work::Share(share) = work { Some(share) } else { None };
    for output in outputs.iter().filter(|_| share.is_none()) {
        output.check(options.format, &monitor)?;
    }
    let (base, tuned) = (Model::open(&args.base)?, Model::open(&args.tuned)?);
    let deployed = args.deployed_base.as_deref().map(Model::open).transpose()?;
    let models: Vec<_> = [Some(&base), Some(&tuned), deployed.as_ref()].into_iter().flatten().collect();
    for output in &outputs {
        output.check_apart(options.format, &models)?;
    }
    let part = own_part(args, share);
    if part.is_some() || work == Work::None {
        let identity = Identity::of(&models, ranks, &options);
        let command = std::env::args().skip(1).collect();
        let parts = Parts::open(part.as_deref(), &args.work.parts, work, identity, command, args.work.fresh)?;
        options.parts = Some(Arc::new(parts));
    }
    let found = with_bar(&monitor, "extracting", args.quiet, || match ranks {
        [] => match &deployed {
            None => Ok(vec![extract(&base, &tuned, &options, &monitor)?]),
            Some(deployed) => Ok(vec![extract_deployed(&base, &tuned, deployed, &options, &monitor)?]),
        },
        _ => extract_ranks(&base, &tuned, deployed.as_ref(), ranks, &options, &monitor),
    });
    if let Some(share) = share {
        return finished(share, found.map(drop), args);
    }
    let extractions = found?;
    // Unmapping gigabytes takes as long as writing an adapter. Where there is no thread for it, it happens here.
    let _ = thread::Builder::new().spawn(move || drop((base, tuned, deployed)));
    for (i, (extraction, output)) in extractions.iter().zip(&outputs).enumerate() {
        let report = save(extraction, output, &monitor)?;
        warn(&report);
        extraction.notes().iter().for_each(|note| complain(note));
        if !args.quiet {
            let gap = if i > 0 { "\n" } else { "" };
            print(&[gap, &text(&report, args, &output.path)].concat())?;
        }
    }
    if let Some(part) = part {
        fs::remove_file(&part).map_err(|source| Error::Io { path: part, action: "remove", source })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The file that keeps what is found, if one does.
fn own_part(args: &ExtractArgs, share: Option<Shard>) -> Option<PathBuf> {
    let beside = || {
        let path: PathBuf = args.output.components().collect();
        let mut name = path.into_os_string();
        name.push(".part");
        PathBuf::from(name)
    };
    match share {
        Some(_) => Some(args.output.clone()),
        None => args.work.resume.then(beside),
    }
}

/// Says what is left to do after a share.
fn finished(share: Shard, found: Result<(), Error>, args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let part = args.output.display();
    let next = match found {
        Ok(()) => "nothing is missing: phlora join makes the adapter".to_owned(),
        Err(Error::Unfinished { missing, .. }) => format!("{missing} tensors are for the other shares"),
        Err(error) => return Err(error.into()),
    };
    if !args.quiet {
        print(&format!("share {share} is in {part}; {next}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where each adapter goes: with several ranks OUTPUT-r8 for rank 8, and FILE-r8.json for its report.
fn outputs(args: &ExtractArgs, ranks: &[usize]) -> Vec<Output> {
    let one = |path: PathBuf, report: Option<PathBuf>| Output { path, report, force: args.force };
    let tagged = |path: &Path, rank: usize| {
        let path: PathBuf = path.components().collect();
        let extension = path.extension().filter(|&extension| {
            ["json", "gguf", "safetensors", "phlora"].iter().any(|known| extension == *known)
        });
        let mut name = path.with_extension("").into_os_string();
        if extension.is_none() {
            name = path.clone().into_os_string();
        }
        name.push(format!("-r{rank}"));
        if let Some(extension) = extension {
            name.push(".");
            name.push(extension);
        }
        PathBuf::from(name)
    };
    match ranks {
        [] => vec![one(args.output.clone(), args.report.clone())],
        _ => ranks
            .iter()
            .map(|&rank| {
                let report = args.report.as_deref().map(|report| tagged(report, rank));
                one(tagged(&args.output, rank), report)
            })
            .collect(),
    }
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
    name_all(
        "the format of the factors is too coarse, so that they keep less than the energy says; \
         see verify, --dtype bf16 or f32",
        &|module: &ModuleReport| report.dtype != COMPACT && module.rounding_loss > COARSE,
    );
}

fn text(report: &Report, args: &ExtractArgs, directory: &Path) -> String {
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
        directory.display()
    );
    let modules = summary::modules(&lines, args.modules, asked);
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
        #[allow(clippy::cast_sign_loss)] // a size
        ("budget", Some(size)) => format!("a budget of {}", bytes(size.max(0.0) as u64)),
        ("noise floor", _) => "the noise floor of each module".to_owned(),
        (goal, _) => goal.to_owned(),
    }
}
