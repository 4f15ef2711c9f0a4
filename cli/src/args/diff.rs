//! The arguments of `phlora diff`.

use super::ModuleArgs;
use super::units::{rank, size};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A model, or an adapter
    pub first: PathBuf,
    /// Another model of the same architecture, or another adapter of the same base
    pub second: PathBuf,
    /// The base of two adapters, whose names relate those of different formats
    #[arg(long, value_name = "MODEL")]
    pub base: Option<PathBuf>,
    /// Of models: look at the spectra as far as this rank
    #[arg(long, value_name = "R", default_value_t = 64, value_parser = rank)]
    pub max_rank: usize,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub scratch: Option<usize>,
    /// Write what was found: as JSON, or as a page for a browser where the name ends in .html
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Replace a report that exists
    #[arg(long)]
    pub force: bool,
    /// List every tensor or module, however many there are
    #[arg(long)]
    pub modules: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress bar and no tables
    #[arg(short, long)]
    pub quiet: bool,
}
