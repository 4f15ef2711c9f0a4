//! The arguments of `phlora check`.

use super::ConsumerArg;
use super::heading::{OUTPUT, WHAT, below};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "check adapter --base base",
    "check adapter --base base --for vllm",
    "check adapter.gguf --base base --json",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, "Exit code 1 when there is an error among the findings."))]
pub struct CheckArgs {
    /// The adapter: a PEFT or mlx-lm directory, or a file of GGUF, kohya, ComfyUI or .phlora
    pub adapter: PathBuf,
    /// The model that it is for
    #[arg(long, value_name = "MODEL", help_heading = WHAT)]
    pub base: PathBuf,
    /// The program that is to run it: whether it loads there, whether it does anything, and what repairs it
    /// [default: PEFT for its directories, llama.cpp where the adapter or the base is a GGUF file]
    #[arg(long = "for", value_name = "PROGRAM", value_enum, help_heading = WHAT)]
    pub consumer: Option<ConsumerArg>,
    /// Print the findings as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
}
