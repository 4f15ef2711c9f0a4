//! The arguments of `phlora convert`.

use super::heading::{MUCH, OUTPUT, WHAT, below};
use super::{DtypeArg, FormatArg, NamesArg};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "convert adapter -o adapter-q8.gguf --base base --dtype q8_0",
    "convert adapter.gguf -o converted --base base",
    "convert adapter -o kohya.safetensors --format kohya --prefix lora_te1 --base base",
];

/// What clap would not show of the doc comment of the arguments of convert.
const CONVERTED: &str = "Between PEFT and GGUF, modules are renamed, and in some architectures the rows of query and \
    key weights are reordered. The architecture and its attention heads come from --base, or from --arch, \
    --heads and --kv-heads; what the adapter names as its base is never opened. Scales become part of lora_b in GGUF. Names of \
    a kohya or ComfyUI file need --base with its weights, whose own names undo them. What a DoRA adapter changes depends on its \
    base: it becomes LoRA by extraction of that change at --rank.";

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, CONVERTED))]
pub struct ConvertArgs {
    /// The adapter: a PEFT or mlx-lm directory, or a file of GGUF, kohya, ComfyUI or .phlora
    pub adapter: PathBuf,
    /// Adapter to create: a PEFT directory, a GGUF file where the name ends in .gguf, or what --format says. - writes a file
    /// to standard output
    #[arg(short, long, help_heading = OUTPUT)]
    pub output: PathBuf,
    /// File format to write, whatever its name ends in
    #[arg(long, value_parser = FormatArg::factored(), help_heading = OUTPUT)]
    pub format: Option<FormatArg>,
    /// What a kohya or ComfyUI file has before the modules' paths, where names and configuration of --base do not tell
    #[arg(long, value_name = "PREFIX", help_heading = OUTPUT)]
    pub prefix: Option<String>,
    /// Whose names the modules of a PEFT adapter have; as they are by default, of an adapter of another format: memory
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub names: Option<NamesArg>,
    /// Storage format of the factors; as they are by default
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub dtype: Option<DtypeArg>,
    /// The base model: a GGUF file, or a directory with config.json. Where its weights are there, names and shapes are checked
    /// against them, and names that begin otherwise are paired by their ends
    #[arg(long, value_name = "PATH", help_heading = WHAT)]
    pub base: Option<PathBuf>,
    /// Architecture of the base (llama, qwen2, …), where no --base says it
    #[arg(long, help_heading = WHAT)]
    pub arch: Option<String>,
    /// Attention heads of the base, where no --base says them
    #[arg(long, value_name = "N", help_heading = WHAT)]
    pub heads: Option<NonZeroUsize>,
    /// Key and value heads of the base, where they are fewer
    #[arg(long, value_name = "N", requires = "heads", help_heading = WHAT)]
    pub kv_heads: Option<NonZeroUsize>,
    /// Write a Modelfile for Ollama beside a GGUF adapter: FROM is a model of Ollama's, as in llama3.2:1b, or the GGUF file
    /// of the base
    #[arg(long, value_name = "FROM", help_heading = OUTPUT)]
    pub modelfile: Option<String>,
    /// Rank that a DoRA adapter gets as LoRA, with the weights of --base; other adapters keep theirs
    #[arg(short, long, value_name = "R", requires = "base", help_heading = MUCH)]
    pub rank: Option<NonZeroUsize>,
    /// Print what was written as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Replace an adapter that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
}
