//! The arguments of `phlora check`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Exit code 1 when there is an error among the findings.")]
pub struct CheckArgs {
    /// The adapter: a PEFT directory, or a file of GGUF, kohya or ComfyUI
    pub adapter: PathBuf,
    /// The model that it is for
    #[arg(long, value_name = "MODEL")]
    pub base: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}
