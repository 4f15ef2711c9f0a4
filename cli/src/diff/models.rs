//! Two models: how far each tensor moved.

use super::LISTED;
use crate::advice;
use crate::args::DiffArgs;
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{self, bytes, percent, seconds};
use crate::progress::with_bar;
use crate::reported::{save, typed};
use crate::say;
use crate::table::Table;
use phlora::{DiffReport, ExtractJob, Policy, Report, available_threads};
use std::process::ExitCode;

pub fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let mut options = args.what.options()?;
    options.policy = Policy::fixed(args.max_rank);
    options.scratch = args.scratch;
    options.threads = args.threads.unwrap_or_else(available_threads);
    let monitor = interrupt::monitor();
    let job = ExtractJob::new(args.first.as_path(), args.second.as_path()).options(options);
    let mut report = with_bar(&monitor, "comparing", args.json, || job.diff(&monitor))?;
    if let Some(origin) = &mut report.origin {
        origin.command = Some(typed());
    }
    report.notes.iter().for_each(|note| complain(&advice::note(note)));
    if let Some(path) = &args.report {
        save(&report, path, args.force, &monitor)?;
    }
    if args.json {
        print::json(&print::value(serde_json::to_string(&report)))?;
    } else {
        say::summary(&text(&report, args.modules))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &Report, every: bool) -> String {
    let Some(diff) = &report.diff else { return String::new() };
    let rest = match (diff.unchanged, diff.not_compared) {
        (0, 0) => String::new(),
        (same, 0) => format!("{same} tensors are the same\n"),
        (same, other) => {
            format!("{same} tensors are the same, {other} are on one side alone or cannot be compared\n")
        }
    };
    let cost = format!("read {} in {}\n", bytes(report.bytes_in), seconds(report.seconds));
    if diff.tensors.is_empty() {
        return format!("the models do not differ\n{rest}{cost}");
    }
    [
        &diff.answer(report.total.whole_norm.unwrap_or(report.total.delta_norm)),
        "\n\n",
        &by_kind(diff),
        "\n",
        &moved(diff, every),
        "\n",
        &rest,
        &cost,
    ]
    .concat()
}

fn by_kind(diff: &DiffReport) -> String {
    let mut table = Table::new(&["kind", "tensors", "of ‖Δ‖²", "‖Δ‖/‖W‖", "effective rank", "above noise"]);
    for kind in diff.kinds() {
        table.row([kind.name.to_owned()].into_iter().chain(kind.figures()).collect());
    }
    table.render()
}

fn moved(diff: &DiffReport, every: bool) -> String {
    let listed = if every { diff.tensors.len() } else { LISTED.min(diff.tensors.len()) };
    let title = if listed < diff.tensors.len() { "what moved most" } else { "tensor" };
    let mut table = Table::new(&[title, "‖Δ‖/‖W‖", "of ‖Δ‖²", "effective rank", "above noise"]);
    for tensor in &diff.tensors[..listed] {
        let more = if tensor.more_above_noise { "≥ " } else { "" };
        table.row(vec![
            tensor.name.clone(),
            tensor.change.map_or("–".to_owned(), percent),
            percent(tensor.share),
            tensor.effective_rank.map_or("–".to_owned(), |rank| format!("{rank:.1}")),
            tensor.noise_rank.map_or("–".to_owned(), |rank| format!("{more}{rank}")),
        ]);
    }
    let hint = "--modules lists the other ";
    let rest = diff.tensors.len() - listed;
    table.render() + &if rest > 0 { format!("{hint}{rest}\n") } else { String::new() }
}
