//! The arguments of `phlora prune`.

use super::units::share;
use super::{DtypeArg, RankArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The adapter: a PEFT directory, or a file of GGUF, kohya or ComfyUI, extracted or trained
    pub adapter: PathBuf,
    /// Adapter to create, in the file format of ADAPTER, or phlora's compact form where the name ends in .phlora; energies are shares of its own products B·A
    #[arg(short, long)]
    pub output: PathBuf,
    #[command(flatten)]
    pub ranks: RankArgs,
    /// Drop modules that hold less than this share of the whole adapter's energy, with what is added to their biases
    #[arg(long, value_name = "E", default_value_t = 0.0, value_parser = share)]
    pub drop_below: f64,
    /// Storage format of the factors [default: as they are]
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// Replace an adapter that exists
    #[arg(long)]
    pub force: bool,
    /// Threads; one per processor by default. The adapter does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// No table
    #[arg(short, long)]
    pub quiet: bool,
}
