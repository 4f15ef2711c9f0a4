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
use phlora::{DiffReport, ExtractJob, Policy, Report, TensorDiff, available_threads};
use std::collections::BTreeMap;
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
    [&answer(report, diff), "\n\n", &by_kind(diff), "\n", &moved(diff, every), "\n", &rest, &cost].concat()
}

/// What moved most, in a line.
pub fn answer(report: &Report, diff: &DiffReport) -> String {
    let kinds = kinds(diff);
    let most = kinds.iter().max_by(|a, b| a.share.total_cmp(&b.share));
    let first = diff.tensors.first();
    let share =
        most.map_or(String::new(), |kind| format!("{} of ‖Δ‖² is in {}", percent(kind.share), kind.name));
    let moved = first.and_then(|tensor| {
        Some(format!("; for its size {} moved most, by {} of ‖W‖", tensor.name, percent(tensor.change?)))
    });
    let norm = report.total.whole_norm.unwrap_or(report.total.delta_norm);
    format!("‖Δ‖ {norm:.4} in {} tensors: {share}{}", diff.tensors.len(), moved.unwrap_or_default())
}

/// The tensors of one kind.
#[derive(Debug)]
pub struct KindDiff<'d> {
    pub name: &'d str,
    pub tensors: usize,
    pub share: f64,
    /// ‖Δ‖/‖W‖ over those where it is known, smallest and largest.
    pub change: Option<[f64; 2]>,
    pub effective: Option<[f64; 2]>,
    pub noise: Option<[usize; 2]>,
    pub more: bool,
}

/// The kinds, what holds the most of ‖Δ‖² first.
pub fn kinds(diff: &DiffReport) -> Vec<KindDiff<'_>> {
    let mut kinds = BTreeMap::<&str, Vec<&TensorDiff>>::new();
    for tensor in &diff.tensors {
        kinds.entry(&tensor.kind).or_default().push(tensor);
    }
    let spread = |values: Vec<f64>| {
        let least = values.iter().copied().reduce(f64::min)?;
        Some([least, values.iter().copied().fold(least, f64::max)])
    };
    let one = |(name, tensors): (_, Vec<&TensorDiff>)| {
        let noise = || tensors.iter().filter_map(|tensor| tensor.noise_rank);
        KindDiff {
            name: if name == "" { "(module)" } else { name },
            tensors: tensors.len(),
            share: tensors.iter().map(|tensor| tensor.share).sum(),
            change: spread(tensors.iter().filter_map(|tensor| tensor.change).collect()),
            effective: spread(tensors.iter().filter_map(|tensor| tensor.effective_rank).collect()),
            noise: noise().min().zip(noise().max()).map(|(least, most)| [least, most]),
            more: tensors.iter().any(|tensor| tensor.more_above_noise),
        }
    };
    let mut kinds: Vec<_> = kinds.into_iter().map(one).collect();
    kinds.sort_by(|a, b| b.share.total_cmp(&a.share));
    kinds
}

fn by_kind(diff: &DiffReport) -> String {
    let mut table = Table::new(&["kind", "tensors", "of ‖Δ‖²", "‖Δ‖/‖W‖", "effective rank", "above noise"]);
    for kind in kinds(diff) {
        table.row(vec![
            kind.name.to_owned(),
            kind.tensors.to_string(),
            percent(kind.share),
            span(kind.change.map(|values| values.map(percent))),
            span(kind.effective.map(|values| values.map(|value| format!("{value:.0}")))),
            (if kind.more { "≥ " } else { "" }).to_owned()
                + &span(kind.noise.map(|values| values.map(|value| value.to_string()))),
        ]);
    }
    table.render()
}

/// A value, or the smallest and the largest.
pub fn span(values: Option<[String; 2]>) -> String {
    match values {
        None => "–".to_owned(),
        Some([least, most]) if least == most => most,
        Some([least, most]) => format!("{least} to {most}"),
    }
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
