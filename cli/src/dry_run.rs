//! `phlora extract --dry-run`: what would be written, by headers alone.

use crate::args::ExtractArgs;
use crate::failure::Failure;
use crate::print::{self, bytes};
use crate::say;
use crate::table::Table;
use phlora::{ExtractJob, Goal, Mode, Monitor, Outline, OutlinedModule, suffix_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// More modules than this are shown by kind.
const MANY: usize = 40;

/// Says what each of `jobs` would write, and where.
pub fn run(
    jobs: &[ExtractJob<'_>],
    places: &[PathBuf],
    args: &ExtractArgs,
    monitor: &Monitor,
) -> Result<ExitCode, Failure> {
    let (policy, ranks) = args.ranks.policy();
    let mut outlines = Vec::new();
    for (job, place) in jobs.iter().zip(places) {
        let of = |(i, outline)| (place, ranks.get(i), outline);
        outlines.extend(job.outline(monitor)?.into_iter().enumerate().map(of));
    }
    if args.saved.json {
        let adapters: Vec<_> = outlines.iter().map(|(.., outline)| as_json(outline, policy.goal)).collect();
        print::json(&json!({"dry_run": true, "output": args.output, "adapters": adapters}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (i, (place, rank, outline)) in outlines.iter().enumerate() {
        let gap = if i > 0 { "\n" } else { "" };
        let of = rank.map_or(String::new(), |rank| format!(", rank {rank}"));
        let title = format!("{gap}would write {}{of}; nothing is written\n\n", place.display());
        say::summary(&[title, text(outline, policy.goal, args.saved.modules)].concat())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether ranks follow from the spectra, so that only their bounds are known.
fn is_open(goal: Goal) -> bool {
    goal != Goal::Fixed
}

fn text(outline: &Outline, goal: Goal, every: bool) -> String {
    let rank = if is_open(goal) { "rank at most" } else { "rank" };
    let table = if every || outline.modules.len() <= MANY {
        let mut table = Table::new(&["module", "out × in", rank, "mode"]);
        for module in &outline.modules {
            table.row([module.name.clone()].into_iter().chain(cells(module)).collect());
        }
        table
    } else {
        let mut table = Table::new(&["modules", "number", "out × in", rank, "mode"]);
        let mut kinds = BTreeMap::<_, (usize, &OutlinedModule)>::new();
        for module in &outline.modules {
            let kind = (suffix_of(&module.name), module.shape);
            kinds.entry(kind).or_insert((0, module)).0 += 1;
        }
        for ((kind, _), (number, module)) in kinds {
            table.row([kind.to_owned(), number.to_string()].into_iter().chain(cells(module)).collect());
        }
        table
    };
    let size = match outline.bytes {
        Some(size) => format!("at most {}", bytes(size)),
        None => "a size that the spectra decide; --budget and --max-rank bound it".to_owned(),
    };
    let whole = match outline.whole {
        0 => String::new(),
        number => format!(", and {number} tensors beside them where they differ"),
    };
    format!(
        "{}\nfactors for {} modules, as far as they differ{whole}; {} tensors without\n{size}\n\
         to read {} of weights, once or several times, with {} of memory for each thread\n",
        table.render(),
        outline.modules.len(),
        outline.left_out.len(),
        bytes(outline.weights),
        bytes(outline.scratch)
    )
}

fn cells(module: &OutlinedModule) -> [String; 3] {
    let [out, input] = module.shape;
    [format!("{out} × {input}"), module.most_rank.to_string(), mode(module.mode).to_owned()]
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Exact => "exact",
        Mode::StreamOnce => "stream-once",
        _ => "multi-read",
    }
}

fn as_json(outline: &Outline, goal: Goal) -> Value {
    let module = |module: &OutlinedModule| {
        let rank = (!is_open(goal)).then_some(module.most_rank);
        let most = module.most_rank;
        json!({
            "name": module.name,
            "shape": module.shape,
            "rank": rank,
            "most_rank": most,
            "mode": mode(module.mode),
        })
    };
    json!({
        "modules": outline.modules.iter().map(module).collect::<Vec<_>>(),
        "whole": outline.whole,
        "left_out": print::value(serde_json::to_string(&outline.left_out)),
        "bytes": outline.bytes,
        "scratch": outline.scratch,
        "weights": outline.weights,
    })
}
