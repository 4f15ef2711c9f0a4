//! Two adapters: what they have in common, and what each adds.

use super::LISTED;
use crate::args::DiffArgs;
use crate::failure::Failure;
use crate::interrupt;
use crate::print::{self, percent};
use crate::progress::with_bar;
use crate::reported::{is_page, typed};
use crate::say;
use crate::table::Table;
use phlora::{
    Adapter, AdapterDiff, DiffOptions, Model, available_threads, diff_adapters, render_adapter_diff,
    save_adapter_diff, save_page,
};
use std::process::ExitCode;

pub fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let (first, second) = (Adapter::open(&args.first)?, Adapter::open(&args.second)?);
    let base = args.base.as_deref().map(Model::open).transpose()?;
    let mut options = DiffOptions::default();
    options.threads = args.threads.unwrap_or_else(available_threads);
    if args.what.channel_scale.is_some() {
        return Err(Failure::Usage("--channel-scale is for two models, whose weights are compared".into()));
    }
    options.filter.include.clone_from(&args.what.include);
    options.filter.exclude.clone_from(&args.what.exclude);
    let monitor = interrupt::monitor();
    let mut found = with_bar(&monitor, "comparing", args.json, || {
        diff_adapters(&first, &second, base.as_ref(), &options, &monitor)
    })?;
    found.command = Some(typed());
    match &args.report {
        Some(path) if is_page(path) => {
            save_page(&render_adapter_diff(&found), path, args.force, &monitor)?;
        }
        Some(path) => save_adapter_diff(&found, path, args.force, &monitor)?,
        None => {}
    }
    if args.json {
        print::json(&print::value(serde_json::to_string(&found)))?;
    } else {
        say::summary(&text(&found, args.modules))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(found: &AdapterDiff, every: bool) -> String {
    let total = &found.total;
    let head = format!("{}\n\n", found.answer());
    let mut sums = Table::new(&["adapter", "modules", "‖ΔW‖", "within the other", "it adds"]);
    for at in 0..2 {
        sums.row(vec![
            found.adapters[at].clone(),
            (found.modules.len() + found.only[at].len()).to_string(),
            format!("{:.4}", total.norms[at]),
            percent(total.shared[at]),
            percent(1.0 - total.shared[at]),
        ]);
    }
    let only = (0..2)
        .filter(|&at| !found.only[at].is_empty())
        .map(|at| {
            let names: Vec<_> = found.only[at].iter().take(LISTED).map(|one| one.name.as_str()).collect();
            let more = if found.only[at].len() > names.len() { ", …" } else { "" };
            format!("only {} changes {}{more}\n", found.adapters[at], names.join(", "))
        })
        .collect::<Vec<_>>()
        .concat();
    [&head, &sums.render(), "\n", &modules(found, every), &only].concat()
}

fn modules(found: &AdapterDiff, every: bool) -> String {
    let mut order: Vec<_> = found.modules.iter().collect();
    order.sort_by(|a, b| b.distance.total_cmp(&a.distance).then_with(|| a.name.cmp(&b.name)));
    let listed = if every { order.len() } else { LISTED.min(order.len()) };
    let title = if listed < order.len() { "what differs most" } else { "module" };
    let mut table = Table::new(&[title, "ranks", "cosine", "shared", "write angles", "read angles"]);
    for module in &order[..listed] {
        let [name, ranks, _, others @ ..] = module.figures();
        table.row([name, ranks].into_iter().chain(others).collect());
    }
    let rest = order.len() - listed;
    table.render() + &if rest > 0 { format!("--modules lists the other {rest}\n") } else { String::new() }
}
