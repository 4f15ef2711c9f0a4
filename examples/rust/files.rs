//! Extracts a PEFT adapter from two models on disk: files BASE TUNED ADAPTER

use phlora_checkpoint::{ExtractOptions, Model, Monitor, Output, Policy, extract, save};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [base, tuned, adapter] = &paths[..] else { return Err("usage: files BASE TUNED ADAPTER".into()) };
    let (base, tuned, monitor) = (Model::open(base)?, Model::open(tuned)?, Monitor::default());
    let options = ExtractOptions { policy: Policy::fixed(16), ..ExtractOptions::default() };
    let extraction = extract(&base, &tuned, &options, &monitor)?;
    let report = save(&extraction, &Output { path: adapter.clone(), report: None, force: false }, &monitor)?;
    println!(
        "{:.1} % of the difference kept in {} modules",
        100.0 * report.total.energy,
        report.modules.len()
    );
    Ok(())
}
