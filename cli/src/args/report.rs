//! The arguments of `phlora report` and `phlora inspect`.

use super::heading::{OUTPUT, below};
use clap::Args;
use std::path::PathBuf;

const DRAWN: &[&str] = &["report report.json -o page.html", "report report.json -o - > piped.html"];

#[derive(Debug, Args)]
#[command(after_help = below(DRAWN, ""))]
pub struct ReportArgs {
    /// What --report of extract, join, plan, or diff of two models wrote as JSON
    pub report: PathBuf,
    /// The page to create: one file that needs no network; - is standard output
    #[arg(short, long, value_name = "FILE.html", help_heading = OUTPUT)]
    pub output: PathBuf,
    /// Print where the page is as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Replace a page that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
}

const LOOKED_AT: &[&str] = &["inspect base", "inspect adapter --modules", "inspect report.json --json"];

#[derive(Debug, Args)]
#[command(after_help = below(LOOKED_AT, ""))]
pub struct InspectArgs {
    /// A model, an adapter or a report, file or directory
    pub path: PathBuf,
    /// List every module of an adapter or a report, every tensor of a model
    #[arg(long, help_heading = OUTPUT)]
    pub modules: bool,
    /// Print it as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The directory to write to: man/man1/*.1, and completions/ with a file for each shell
    pub directory: PathBuf,
}
