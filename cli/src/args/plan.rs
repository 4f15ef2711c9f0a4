//! The arguments of `phlora plan`.

use super::heading::{HOW, MUCH, OUTPUT, below};
use super::units::{rank, size};
use super::{ByArg, DtypeArg, FormatArg, MODELS, ModuleArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "plan base tuned",
    "plan base tuned --format gguf --max-rank 64 --report spectra.json",
    "plan base tuned --include mlp --json > plan.json",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, MODELS))]
pub struct PlanArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning
    pub tuned: PathBuf,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Look at the spectra as far as this rank
    #[arg(long, value_name = "R", default_value_t = 128, value_parser = rank, help_heading = MUCH)]
    pub max_rank: usize,
    /// What a budget over modules keeps the most of
    #[arg(long, value_enum, default_value_t = ByArg::Relative, help_heading = MUCH)]
    pub by: ByArg,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = HOW)]
    pub scratch: Option<usize>,
    /// File format of the adapter that is planned [default: peft]
    #[arg(long, value_parser = FormatArg::factored(), help_heading = OUTPUT)]
    pub format: Option<FormatArg>,
    /// Storage format of the adapter [default: as extract chooses it: f16; of a GGUF adapter within a budget f16,
    /// q8_0, q5_0 or iq4_nl]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub dtype: Option<DtypeArg>,
    /// Write the spectra as a report: as JSON, for `phlora report`, or as a page for a browser where the name ends in
    /// .html; - is standard output
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
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
