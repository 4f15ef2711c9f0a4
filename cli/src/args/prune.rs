//! The arguments of `phlora prune`.

use super::heading::{HOW, MUCH, OUTPUT, below};
use super::units::{energy, positive, rank};
use super::{DtypeArg, RankArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "prune adapter -o small -r 8",
    "prune adapter -o smaller --energy 90%",
    "prune adapter -o resized --sv-fro 0.9 --max-rank 8",
    "prune adapter.gguf -o - --budget 200kB > small.gguf",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, ""), mut_arg("rank", |rank| rank.help("One rank for all modules [default: 32]")))]
pub struct PruneArgs {
    /// The adapter: a PEFT or mlx-lm directory, or a file of GGUF, kohya, ComfyUI or .phlora, extracted or trained
    pub adapter: PathBuf,
    /// Adapter to create, in the file format of ADAPTER, or phlora's compact form where the name ends in .phlora; energies are
    /// shares of its own products B·A. - writes a file to standard output
    #[arg(short, long, help_heading = OUTPUT)]
    pub output: PathBuf,
    #[command(flatten)]
    pub ranks: RankArgs,
    /// Per module the directions whose singular value is above the largest divided by this: sv_ratio of kohya's resize tool
    #[arg(long, value_name = "N", value_parser = positive, group = "goal", help_heading = MUCH)]
    pub sv_ratio: Option<f64>,
    /// Per module the smallest rank that keeps this share of ‖B·A‖: sv_fro of kohya's resize tool; --energy with its square
    #[arg(long, value_name = "E", value_parser = energy, group = "goal", help_heading = MUCH)]
    pub sv_fro: Option<f64>,
    /// Per module the smallest rank that keeps this share of the sum of singular values: sv_cumulative of kohya's resize
    /// tool
    #[arg(long, value_name = "E", value_parser = energy, group = "goal", help_heading = MUCH)]
    pub sv_cumulative: Option<f64>,
    /// Per module the directions whose singular value is above this: sv-epsilon of mergekit-extract-lora
    #[arg(long, value_name = "S", value_parser = positive, group = "goal", help_heading = MUCH)]
    pub sv_epsilon: Option<f64>,
    /// Largest rank of convolutions whose kernel is more than 1 wide, where it is another
    #[arg(long, value_name = "R", value_parser = rank, help_heading = MUCH)]
    pub conv_rank: Option<usize>,
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
