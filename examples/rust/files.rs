//! Extracts a PEFT adapter from two models on disk: files BASE TUNED ADAPTER

use phlora::{ExtractJob, ExtractOptions, Monitor, Output, Policy};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [base, tuned, adapter] = &paths[..] else { return Err("usage: files BASE TUNED ADAPTER".into()) };
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(16);
    let job = ExtractJob::new(base.as_path(), tuned.as_path()).options(options);
    let saved = job.run(&Output::new(adapter), &Monitor::default())?;
    let report = &saved[0].report;
    println!(
        "{:.1} % of the difference kept in {} modules",
        100.0 * report.total.energy,
        report.modules.len()
    );
    Ok(())
}
