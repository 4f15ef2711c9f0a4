//! `phlora plan`: what ranks and bytes would keep, without writing an adapter.

use crate::advice;
use crate::args::PlanArgs;
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{bytes, count, percent, print, seconds};
use crate::progress::with_bar;
use crate::spark;
use crate::summary;
use crate::table::Table;
use phlora::{Choice, Dtype, ExtractJob, Goal, Policy, Report, available_threads, choose, save_report};
use std::process::ExitCode;

/// Shares of energy that are shown.
const ENERGIES: [f64; 5] = [0.5, 0.8, 0.9, 0.95, 0.99];

pub fn run(args: &PlanArgs) -> Result<ExitCode, Failure> {
    let mut options = args.what.options()?;
    options.policy = Policy::fixed(args.max_rank);
    options.dtype = args.dtype.into();
    options.scratch = args.scratch;
    options.threads = args.threads.unwrap_or_else(available_threads);
    let monitor = interrupt::monitor();
    let job = ExtractJob::new(args.base.as_path(), args.tuned.as_path()).options(options);
    let report = with_bar(&monitor, "reading spectra", args.quiet, || job.plan(&monitor))?;
    report.notes.iter().for_each(|note| complain(&advice::note(note)));
    if let Some(path) = &args.report {
        save_report(&report, path, args.force, &monitor)?;
    }
    if !args.quiet {
        print(&text(&report, args.dtype.into()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &Report, dtype: Dtype) -> String {
    let total = &report.total;
    let cost = format!(
        "\n{} weights in {} modules, ‖Δ‖ {:.4}; read {} in {}, bytes in {}, headers not counted\n",
        count(total.parameters_in),
        report.modules.len(),
        total.delta_norm,
        bytes(report.bytes_in),
        seconds(report.seconds),
        dtype.name().to_ascii_lowercase()
    );
    let left_out = summary::left_out(report);
    let gap = if left_out.is_empty() { "" } else { "\n" };
    [
        &spark::by_kind(&report.modules),
        "\n",
        &by_rank(report, dtype),
        "\n",
        &policies(report, dtype),
        gap,
        &left_out,
        &cost,
    ]
    .concat()
}

/// One rank for all modules.
fn by_rank(report: &Report, dtype: Dtype) -> String {
    let most = report.modules.iter().map(|module| module.rank).max().unwrap_or(0);
    let mut ranks: Vec<_> =
        (0..usize::BITS).map(|power| 1_usize << power).take_while(|&rank| rank < most).collect();
    ranks.push(most);
    let mut table = Table::new(&["rank for all", "energy", "least of a module", "bytes"]);
    for rank in ranks {
        let choice = choose(report, &Policy::fixed(rank), dtype);
        let least = report.modules.iter().map(|module| {
            let kept: f64 = module.spectrum().iter().take(rank).map(|&s| f64::from(s).powi(2)).sum();
            kept / module.delta_norm.powi(2)
        });
        let least = least.fold(1.0_f64, f64::min);
        table.row(vec![rank.to_string(), percent(choice.energy), percent(least), bytes(choice.bytes)]);
    }
    table.render()
}

/// What each policy would choose.
fn policies(report: &Report, dtype: Dtype) -> String {
    let mut table = Table::new(&["policy", "ranks", "energy", "bytes"]);
    let mut row = |name: String, goal: Goal| {
        let policy = Policy { goal, max_rank: usize::MAX, uniform: false, ..Policy::default() };
        table.row(cells(name, &choose(report, &policy, dtype)));
    };
    for share in ENERGIES {
        row(format!("--energy {share}"), Goal::Energy(share));
    }
    for share in ENERGIES {
        row(format!("--total-energy {share}"), Goal::TotalEnergy(share));
    }
    row("--noise-floor".to_owned(), Goal::NoiseFloor);
    for rank in [8, 16, 32, 64] {
        // In the bytes of a usual rank, so that the two can be compared.
        let size = choose(report, &Policy::fixed(rank), dtype).bytes;
        row(format!("--budget {size} (rank {rank} for all)"), Goal::Budget(size));
    }
    table.render()
}

fn cells(name: String, choice: &Choice) -> Vec<String> {
    let (least, most) = (choice.ranks.iter().min().unwrap_or(&0), choice.ranks.iter().max().unwrap_or(&0));
    // What the known spectrum does not decide is more than what it shows.
    let more = if choice.known { "" } else { "≥ " };
    vec![
        name,
        format!("{least} to {more}{most}"),
        format!("{more}{}", percent(choice.energy)),
        format!("{more}{}", bytes(choice.bytes)),
    ]
}
