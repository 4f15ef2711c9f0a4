//! The arguments of `phlora merge`.

use super::heading::{HOW, MUCH, OUTPUT, below};
use super::units::strength;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] =
    &["merge base adapter -o merged", "merge base adapter small -o mixed --scale 0.5 --scale -0.25"];

/// What clap would not show of the doc comment of the arguments of merge.
const MERGED: &str = "A base of one file becomes one file. A base of several files, or named by its directory or index, \
    becomes a directory with files of the same names, a split GGUF model a directory with the same parts; where BASE \
    names a directory or index, configuration, tokenizer and all else there is copied, but for hidden files and other \
    weights. Merged weights keep their format (F32, F16, BF16, Q8_0, Q5_1, Q5_0, Q4_1, Q4_0
    or IQ4_NL), all other bytes are those of the base.";

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, MERGED))]
pub struct MergeArgs {
    /// The base model: safetensors or GGUF, file or directory
    pub base: PathBuf,
    /// The adapters: PEFT or mlx-lm directories, or files of GGUF, kohya, ComfyUI or .phlora, whatever the base is
    #[arg(required = true)]
    pub adapters: Vec<PathBuf>,
    /// Model to create; - writes one of a single file to standard output
    #[arg(short, long, help_heading = OUTPUT)]
    pub output: PathBuf,
    /// What the adapters are multiplied by, beyond their own scales: once for all, or for each in its order
    /// [default: 1]
    #[arg(long, value_name = "S", value_parser = strength, allow_negative_numbers = true, help_heading = MUCH)]
    pub scale: Vec<f32>,
    /// Print what was written as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Replace a model that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
    /// Threads; one per processor by default. The model does not depend on it
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
}
