//! `phlora prune`.

use crate::args::{PruneArgs, check_bits};
use crate::destination::{Destination, check_stdout};
use crate::failure::Failure;
use crate::interrupt;
use crate::print::{self, bytes, percent};
use crate::progress::with_bar;
use crate::say;
use crate::table::Table;
use phlora::{
    Adapter, AdapterFormat, PruneOptions, Pruned, PrunedModule, available_threads, prune, suffix_of,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// More modules than this are shown by kind.
const MANY: usize = 40;

pub fn run(args: &PruneArgs) -> Result<ExitCode, Failure> {
    let (policy, ranks) = args.ranks.policy();
    if !ranks.is_empty() {
        return Err(Failure::Usage("prune writes one adapter: give one rank".into()));
    }
    let monitor = interrupt::monitor();
    let adapter = Adapter::open(&args.adapter)?;
    let compact = AdapterFormat::of_path(&args.output) == AdapterFormat::Phlora;
    let format = if compact { AdapterFormat::Phlora } else { adapter.format() };
    check_bits(format, args.dtype)?;
    let mut options = PruneOptions::default();
    options.policy = policy;
    options.drop_below = args.drop_below;
    options.dtype = args.dtype.map(Into::into);
    options.format = format;
    options.force = args.force;
    options.threads = args.threads.unwrap_or_else(available_threads);
    check_stdout(&args.output, format, args.json)?;
    let place = Destination::of(&args.output, format.file_name())?;
    let pruned =
        with_bar(&monitor, "pruning", args.json, || prune(&adapter, place.path(), &options, &monitor))?;
    if args.json {
        print::json(&as_json(&pruned, args))?;
    } else {
        say::summary(&text(&pruned, args, &place.shown()))?;
    }
    place.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(pruned: &Pruned, args: &PruneArgs) -> Value {
    let module = |module: &PrunedModule| {
        json!({
            "name": module.name,
            "before": module.before,
            "rank": module.rank,
            "energy": module.energy,
            "sum_squares": module.sum_squares,
        })
    };
    json!({
        "path": args.output,
        "bytes": pruned.bytes,
        "energy": pruned.energy,
        "modules": pruned.modules.iter().map(module).collect::<Vec<_>>(),
    })
}

/// Modules, or kinds of them where there are many.
fn text(pruned: &Pruned, args: &PruneArgs, shown: &str) -> String {
    let total = format!(
        "\n{} of the adapter kept, wrote {} to {shown}\n",
        percent(pruned.energy),
        bytes(pruned.bytes)
    );
    if args.modules || pruned.modules.len() <= MANY {
        by_module(pruned) + &total
    } else {
        by_kind(pruned) + &total
    }
}

fn by_kind(pruned: &Pruned) -> String {
    let all: f64 = pruned.modules.iter().map(|module| module.sum_squares).sum();
    let mut kinds = BTreeMap::<&str, Vec<&PrunedModule>>::new();
    for module in &pruned.modules {
        kinds.entry(suffix_of(&module.name)).or_default().push(module);
    }
    let mut table = Table::new(&["modules", "number", "rank", "now", "kept", "of ‖B·A‖²"]);
    for (kind, modules) in kinds {
        let range = |rank: fn(&PrunedModule) -> usize| {
            let ranks = || modules.iter().map(|module| rank(module));
            let (least, most) = (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0));
            if least == most { most.to_string() } else { format!("{least} to {most}") }
        };
        let sum: f64 = modules.iter().map(|module| module.sum_squares).sum();
        let kept: f64 = modules.iter().map(|module| module.energy * module.sum_squares).sum();
        let share = |part: f64, all: f64| percent(if all > 0.0 { part / all } else { 0.0 });
        table.row(vec![
            kind.to_owned(),
            modules.len().to_string(),
            range(|module| module.before),
            range(|module| module.rank),
            share(kept, sum),
            share(sum, all),
        ]);
    }
    table.render()
}

fn by_module(pruned: &Pruned) -> String {
    let all: f64 = pruned.modules.iter().map(|module| module.sum_squares).sum();
    let mut table = Table::new(&["module", "rank", "now", "kept", "of ‖B·A‖²"]);
    for module in &pruned.modules {
        let now = if module.rank == 0 { "dropped".to_owned() } else { module.rank.to_string() };
        let share = if all > 0.0 { module.sum_squares / all } else { 0.0 };
        let cells = [module.before.to_string(), now, percent(module.energy), percent(share)];
        table.row([module.name.clone()].into_iter().chain(cells).collect());
    }
    table.render()
}
