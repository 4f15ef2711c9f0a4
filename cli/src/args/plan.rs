//! The arguments of `phlora plan`.

use super::units::{rank, size};
use super::{DtypeArg, MODELS, ModuleArgs};
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
    /// Storage format of the adapter
    #[arg(long, value_enum, default_value_t = DtypeArg::F16)]
    pub dtype: DtypeArg,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub scratch: Option<usize>,
    /// Write the spectra as a report, for `phlora report`
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Replace a report that exists
    #[arg(long)]
    pub force: bool,
    /// No progress bar and no tables
    #[arg(short, long)]
    pub quiet: bool,
}
