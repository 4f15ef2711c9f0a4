//! The arguments of `phlora report` and `phlora inspect`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What `phlora extract --report` or `phlora plan --report` wrote
    pub report: PathBuf,
    /// The page to create: one file that needs no network
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
    /// Replace a page that exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A model, an adapter or a report, file or directory
    pub path: PathBuf,
}
