//! The arguments of `phlora verify`.

use super::MODELS;
use super::heading::{HOW, MUCH, OUTPUT, WHAT, below};
use super::units::energy;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "verify base tuned adapter",
    "verify base tuned adapter --min-energy 60%",
    "verify base tuned adapter --min-whole 30%",
    "verify base tuned adapter.gguf --json",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, MODELS))]
pub struct VerifyArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning
    pub tuned: PathBuf,
    /// The adapter: a PEFT or mlx-lm directory, or a file of GGUF, kohya, ComfyUI or .phlora
    pub adapter: PathBuf,
    /// Weights of the input channels: a safetensors file with a vector per module, by its path. With the root mean
    /// squares of a layer's inputs, energies are shares of the error of its output
    #[arg(long, value_name = "FILE.safetensors", help_heading = WHAT)]
    pub channel_scale: Option<PathBuf>,
    /// Fail (exit code 1) when less than this share of ‖Δ‖² over the adapter's modules is kept, from 0 to 1 or in per cent
    #[arg(long, value_name = "E", value_parser = energy, help_heading = MUCH)]
    pub min_energy: Option<f64>,
    /// Fail (exit code 1) when less than this share of the whole difference is kept, what the adapter does not change
    /// included
    #[arg(long, value_name = "E", value_parser = energy, help_heading = MUCH)]
    pub min_whole: Option<f64>,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
    /// Print the measurements as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// List every module, however many there are
    #[arg(long, help_heading = OUTPUT)]
    pub modules: bool,
}
