//! The arguments of `phlora plan`.

use super::units::{rank, size};
use super::{ByArg, DtypeArg, FormatArg, MODELS, ModuleArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = MODELS)]
pub struct PlanArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning
    pub tuned: PathBuf,
    /// Look at the spectra as far as this rank
    #[arg(long, value_name = "R", default_value_t = 128, value_parser = rank)]
    pub max_rank: usize,
    /// File format of the adapter that is planned [default: peft]
    #[arg(long, value_enum)]
    pub format: Option<FormatArg>,
    /// Storage format of the adapter [default: as extract chooses it: f16; of a GGUF adapter within a budget f16,
    /// q8_0, q5_0 or iq4_nl]
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// What modules that share a budget keep the most of
    #[arg(long, value_enum, default_value_t = ByArg::Relative)]
    pub by: ByArg,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub scratch: Option<usize>,
    /// Write the spectra as a report: as JSON, for `phlora report`, or as a page for a browser where the name ends in
    /// .html
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Replace a report that exists
    #[arg(long)]
    pub force: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress bar and no tables
    #[arg(short, long)]
    pub quiet: bool,
}
