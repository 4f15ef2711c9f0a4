//! The arguments of `phlora check`.

use super::heading::{OUTPUT, WHAT, below};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &["check adapter --base base", "check adapter.gguf --base base --json"];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, "Exit code 1 when there is an error among the findings."))]
pub struct CheckArgs {
    /// The adapter: a PEFT directory, or a file of GGUF, kohya or ComfyUI
    pub adapter: PathBuf,
    /// The model that it is for
    #[arg(long, value_name = "MODEL", help_heading = WHAT)]
    pub base: PathBuf,
    /// Print the findings as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
}
