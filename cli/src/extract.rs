//! `phlora extract`.

use crate::args::ExtractArgs;
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{bytes, count, percent, print, seconds};
use crate::progress::with_bar;
use crate::summary::{self, Line};
use phlora_checkpoint::{
    ExtractOptions, Filter, Model, ModuleReport, Output, Report, available_threads, extract,
    extract_deployed, save,
};
use std::process::ExitCode;

/// Names at most this many modules that did not converge.
const NAMED: usize = 5;

/// Share of ‖Δ‖² that rounding may take in silence: half of what the default tolerance leaves.
const COARSE: f64 = 5e-4;

pub fn run(args: &ExtractArgs) -> Result<ExitCode, Failure> {
    let options = ExtractOptions {
        rank: args.rank,
        mode: args.mode.into(),
        dtype: args.dtype.into(),
        tolerance: args.tolerance,
        max_reads: args.max_reads,
        scratch: args.scratch,
        threads: args.threads.unwrap_or_else(available_threads),
        filter: Filter { include: args.include.clone(), exclude: args.exclude.clone() },
        ..ExtractOptions::default()
    };
    let output = Output { directory: args.output.clone(), report: args.report.clone(), force: args.force };
    let monitor = interrupt::monitor();
    output.check(&monitor)?;
    let (base, tuned) = (Model::open(&args.base)?, Model::open(&args.tuned)?);
    let deployed = args.deployed_base.as_deref().map(Model::open).transpose()?;
    let extraction = with_bar(&monitor, "extracting", args.quiet, || match &deployed {
        None => extract(&base, &tuned, &options, &monitor),
        Some(deployed) => extract_deployed(&base, &tuned, deployed, &options, &monitor),
    })?;
    let report = save(&extraction, &output, &monitor)?;
    warn(&report);
    if !args.quiet {
        print(&text(&report, args))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Names the modules whose factors may be worse than they could be.
fn warn(report: &Report) {
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
        &|module: &ModuleReport| module.rounding_loss > COARSE,
    );
}

fn text(report: &Report, args: &ExtractArgs) -> String {
    let lines: Vec<_> = report
        .modules
        .iter()
        .map(|m| Line {
            name: &m.name,
            shape: m.shape,
            rank: m.rank,
            energy: m.energy,
            sum_squares: m.delta_norm.powi(2),
            reads: Some(m.reads),
        })
        .collect();
    let total = &report.total;
    let kept = format!(
        "\n{} of ‖Δ‖² kept over {} modules: {} weights in, {} out\n",
        percent(total.energy),
        lines.len(),
        count(total.parameters_in),
        count(total.parameters_out)
    );
    let parts = match (total.tuning_norm, total.repair_norm) {
        (Some(tuning), Some(repair)) => {
            let share = |norm: f64| percent(norm * norm / (tuning * tuning + repair * repair));
            format!("{} of it fine-tuning, {} repair of the deployed base\n", share(tuning), share(repair))
        }
        _ => String::new(),
    };
    let capped = lines.iter().filter(|line| line.rank < args.rank).count();
    let rank = lines.iter().map(|line| line.rank).max().unwrap_or(0);
    let capped = match capped {
        0 => String::new(),
        _ => format!(
            "rank {} is above the narrower side of {capped} modules, which are capped there; \
             the adapter has rank {rank}\n",
            args.rank
        ),
    };
    let cost = format!(
        "\nread {} in {}, wrote {} to {}\n",
        bytes(report.bytes_in),
        seconds(report.seconds),
        bytes(report.bytes_out),
        args.output.display()
    );
    let modules = summary::modules(&lines, args.modules, args.rank);
    let left_out = summary::left_out(&report.left_out, total.delta_norm.powi(2));
    let gap = if left_out.is_empty() { "" } else { "\n" };
    [modules.as_str(), &kept, &parts, &capped, gap, &left_out, &cost].concat()
}
