//! `phlora plan`: which rank, and what ranks and bytes would keep, without writing an adapter.

use crate::advice;
use crate::args::PlanArgs;
use crate::destination::is_stdout;
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{self, bytes, count, percent, seconds};
use crate::progress::with_bar;
use crate::reported::{save, typed};
use crate::say;
use crate::spark;
use crate::summary::{self, Line};
use crate::table::Table;
use phlora::{Dtype, ExtractJob, PlanReport, PlanRow, Policy, Report, available_threads};
use std::process::ExitCode;

pub fn run(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let mut options = args.what.options()?;
    options.policy = Policy { by: args.by.into(), ..Policy::fixed(args.max_rank) };
    options.format = args.format.map_or(options.format, Into::into);
    options.dtype = args.dtype.map_or(Dtype::F16, Into::into);
    options.choose_dtype = args.dtype.is_none();
    options.scratch = args.scratch;
    options.threads = args.threads.unwrap_or_else(available_threads);
    let monitor = interrupt::monitor();
    let job = ExtractJob::new(args.base.as_path(), args.tuned.as_path()).options(options);
    let mut report = with_bar(&monitor, "reading spectra", args.json, || job.plan(&monitor))?;
    if let Some(origin) = &mut report.origin {
        origin.command = Some(typed());
    }
    report.notes.iter().for_each(|note| complain(&advice::note(note)));
    let to_stdout = args.report.as_deref().is_some_and(is_stdout);
    if let Some(path) = args.report.as_deref().filter(|_| !to_stdout) {
        save(&report, path, args.force, &monitor)?;
    }
    if to_stdout || args.json {
        print::json(&print::value(serde_json::to_string(&report)))?;
    } else {
        let modules = if args.modules { ["\n", &by_module(&report)].concat() } else { String::new() };
        say::summary(&[text(&report), modules].concat())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each module at the largest rank that was looked at.
fn by_module(report: &Report) -> String {
    let lines = report.modules.iter().map(|m| Line {
        name: &m.name,
        shape: m.shape,
        rank: m.rank,
        energy: m.energy,
        sum_squares: m.delta_norm.powi(2),
        reads: Some(m.reads),
    });
    summary::modules(&lines.collect::<Vec<_>>(), true, 0)
}

fn text(report: &Report) -> String {
    let total = &report.total;
    let Some(plan) = &report.plan else { return String::new() };
    let cost = format!(
        "\n{} weights in {} modules, ‖Δ‖ {:.4}; read {} in {}, bytes are those of {} files\n",
        count(total.parameters_in),
        report.modules.len(),
        total.delta_norm,
        bytes(report.bytes_in),
        seconds(report.seconds),
        plan.format
    );
    let left_out = summary::left_out(report);
    let gap = if left_out.is_empty() { "" } else { "\n" };
    [
        &answer(plan).join("\n"),
        "\n\n",
        &spark::by_kind(&report.modules),
        "\n",
        &by_rank(plan),
        "\n",
        &policies(plan),
        gap,
        &left_out,
        &cost,
    ]
    .concat()
}

/// What `plan` recommends, with the options to type.
fn answer(plan: &PlanReport) -> Vec<String> {
    plan.answer(option, "raise --max-rank")
}

/// One rank for all modules.
fn by_rank(plan: &PlanReport) -> String {
    let mut table = Table::new(&["rank for all", "energy", "of the whole", "least of a module", "bytes"]);
    for row in &plan.by_rank {
        table.row(vec![
            row.ranks[1].to_string(),
            percent(row.energy),
            percent(row.whole_energy),
            percent(row.least_energy),
            bytes(row.bytes),
        ]);
    }
    table.render()
}

/// What each policy would choose.
fn policies(plan: &PlanReport) -> String {
    let mut table = Table::new(&["policy", "ranks", "dtype", "energy", "rounding", "bytes"]);
    for row in &plan.policies {
        let same =
            plan.by_rank.iter().find(|fixed| row.goal == "budget" && row.value == Some(fixed.bytes as f64));
        let same = same.map_or(String::new(), |fixed| format!(" (rank {} for all)", fixed.ranks[1]));
        table.row(vec![
            option(row) + &same,
            row.choice_text(format!("{} to {}", row.ranks[0], row.ranks[1])),
            row.dtype.clone(),
            row.energy_text(percent(row.energy)),
            if row.rounding_loss > 5e-5 {
                format!("−{}", percent(row.rounding_loss))
            } else {
                "–".to_owned()
            },
            row.choice_text(bytes(row.bytes)),
        ]);
    }
    let short = plan.policies.iter().any(|row| !row.known);
    let hint = "– and ≥: not known, or a bound from below, as the search ended at rank ";
    let hint = if short { format!("{hint}{}: raise --max-rank\n", plan.searched) } else { String::new() };
    table.render() + &hint
}

/// The option of `phlora extract`.
fn option(row: &PlanRow) -> String {
    match (row.goal.as_str(), row.value) {
        ("rank" | "budget" | "energy", Some(value)) => format!("--{} {value}", row.goal),
        ("total energy", Some(value)) => format!("--total-energy {value}"),
        _ => "--noise-floor".to_owned(),
    }
}
