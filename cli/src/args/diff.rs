//! The arguments of `phlora diff`.

use super::heading::{HOW, MUCH, OUTPUT, WHAT, below};
use super::units::{rank, size};
use super::{MODELS, ModuleArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "diff base tuned",
    "diff base tuned --include mlp --report moved.html",
    "diff adapter adapter-q8.gguf --base base",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, MODELS))]
pub struct DiffArgs {
    /// A model, or an adapter
    pub first: PathBuf,
    /// Another model of the same architecture, or another adapter of the same base
    pub second: PathBuf,
    /// The base of two adapters, whose names relate those of different formats
    #[arg(long, value_name = "MODEL", help_heading = WHAT)]
    pub base: Option<PathBuf>,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Of models: look at the spectra as far as this rank
    #[arg(long, value_name = "R", default_value_t = 64, value_parser = rank, help_heading = MUCH)]
    pub max_rank: usize,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = HOW)]
    pub scratch: Option<usize>,
    /// Write what was found: as JSON, or as a page for a browser where the name ends in .html
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub report: Option<PathBuf>,
    /// List every tensor or module, however many there are
    #[arg(long, help_heading = OUTPUT)]
    pub modules: bool,
    /// Print what was found as JSON, in the place of tables
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Replace a report that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
}
