//! The arguments of `phlora prune`.

use super::heading::{HOW, MUCH, OUTPUT, below};
use super::units::energy;
use super::{DtypeArg, RankArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "prune adapter -o small -r 8",
    "prune adapter -o smaller --energy 90%",
    "prune adapter.gguf -o - --budget 200kB > small.gguf",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, ""))]
pub struct PruneArgs {
    /// The adapter: a PEFT directory, or a file of GGUF, kohya or ComfyUI, extracted or trained
    pub adapter: PathBuf,
    /// Adapter to create, in the file format of ADAPTER, or phlora's compact form where the name ends in .phlora; energies are
    /// shares of its own products B·A. - writes a file to standard output
    #[arg(short, long, help_heading = OUTPUT)]
    pub output: PathBuf,
    #[command(flatten)]
    pub ranks: RankArgs,
    /// Drop modules that hold less than this share of the whole adapter's energy, with what is added to their biases
    #[arg(long, value_name = "E", default_value_t = 0.0, value_parser = energy, help_heading = MUCH)]
    pub drop_below: f64,
    /// Storage format of the factors [default: as they are]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub dtype: Option<DtypeArg>,
    /// List every module, however many there are
    #[arg(long, help_heading = OUTPUT)]
    pub modules: bool,
    /// Print ranks and energies as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Replace an adapter that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
    /// Threads; one per processor by default. The adapter does not depend on it
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
}
