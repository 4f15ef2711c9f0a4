//! The arguments of `phlora plan`.

use super::heading::{HOW, MUCH, OUTPUT, below};
use super::units::{rank, size};
use super::{DtypeArg, MODELS, ModuleArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "plan base tuned",
    "plan base tuned --max-rank 64 --report spectra.json",
    "plan base tuned --include mlp --json > plan.json",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, MODELS))]
pub struct PlanArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning
    pub tuned: PathBuf,
    /// Look at the spectra as far as this rank
    #[arg(long, value_name = "R", default_value_t = 128, value_parser = rank, help_heading = MUCH)]
    pub max_rank: usize,
    /// Storage format of the adapter
    #[arg(long, value_enum, default_value_t = DtypeArg::F16, help_heading = OUTPUT)]
    pub dtype: DtypeArg,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = HOW)]
    pub scratch: Option<usize>,
    /// Write the spectra as a report, for `phlora report`; - is standard output
    #[arg(long, value_name = "FILE.json", help_heading = OUTPUT)]
    pub report: Option<PathBuf>,
    /// List every module, however many there are
    #[arg(long, help_heading = OUTPUT)]
    pub modules: bool,
    /// Print the report as JSON, in the place of tables
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Replace a report that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
}
