//! `phlora prune`.

use crate::args::{PruneArgs, check_bits};
use crate::failure::Failure;
use crate::interrupt;
use crate::print::{bytes, percent, print};
use crate::table::Table;
use phlora::{Adapter, AdapterFormat, PruneOptions, Pruned, available_threads, prune};
use std::process::ExitCode;

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
    let pruned = prune(&adapter, &args.output, &options, &monitor)?;
    if !args.quiet {
        print(&text(&pruned, args))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(pruned: &Pruned, args: &PruneArgs) -> String {
    let all: f64 = pruned.modules.iter().map(|module| module.sum_squares).sum();
    let mut table = Table::new(&["module", "rank", "now", "kept", "of ‖B·A‖²"]);
    for module in &pruned.modules {
        let now = if module.rank == 0 { "dropped".to_owned() } else { module.rank.to_string() };
        let share = if all > 0.0 { module.sum_squares / all } else { 0.0 };
        let cells = [module.before.to_string(), now, percent(module.energy), percent(share)];
        table.row([module.name.clone()].into_iter().chain(cells).collect());
    }
    format!(
        "{}\n{} of the adapter kept, wrote {} to {}\n",
        table.render(),
        percent(pruned.energy),
        bytes(pruned.bytes),
        args.output.display()
    )
}
