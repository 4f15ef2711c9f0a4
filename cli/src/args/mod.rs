//! The command line.

mod choices;
mod diff;
mod plan;
mod units;

pub use diff::DiffArgs;
pub use plan::PlanArgs;

pub use choices::{AlsoArg, ByArg, DtypeArg, FormatArg, ModeArg, NamesArg, ServerArg, check_bits};

use crate::share::{ShareArg, parse_share};
use clap::{Args, Parser, Subcommand};
use phlora::{ChannelScales, Error, ExtractOptions, Goal, Policy};
use regex::Regex;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use units::{energy, pattern, rank, share, size, strength};

/// Extracts LoRA adapters from pairs of checkpoints, without data and without training.
#[derive(Debug, Parser)]
#[command(name = "phlora", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Read input files into memory in the place of mapping them: for files that others may shorten meanwhile, and for
    /// network file systems
    #[arg(long, global = true)]
    pub read_files: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an adapter of the difference of two models, for PEFT, llama.cpp, kohya's scripts or ComfyUI
    Extract(Box<ExtractArgs>),
    /// Put the parts of an extraction that was done in shares together
    Join(JoinArgs),
    /// Say which rank to take, and what ranks and bytes would keep, without writing an adapter
    Plan(PlanArgs),
    /// Compare two models, or two adapters
    Diff(DiffArgs),
    /// Find what makes llama.cpp refuse, crash on or ignore an adapter
    Check(CheckArgs),
    /// Write an adapter in another format: PEFT, GGUF, kohya or ComfyUI, or with factors of another type
    Convert(ConvertArgs),
    /// Measure how much of the difference a written adapter keeps
    Verify(VerifyArgs),
    /// Write any LoRA adapter at smaller ranks, without its base
    Prune(PruneArgs),
    /// Write a model with adapters merged into its weights
    Merge(MergeArgs),
    /// Draw a report as one page for a browser
    Report(ReportArgs),
    /// Say what a model, an adapter or a report holds
    Inspect(InspectArgs),
}

/// What clap would not show of the doc comment of a subcommand's arguments.
const MODELS: &str = "A model is a .safetensors file, a directory that holds model.safetensors, or a directory \
    of shards with model.safetensors.index.json; or a GGUF file, any part of a split one, or a directory with \
    one GGUF model. Its files are mapped and must not change during the run: where one gets shorter, the \
    system ends phlora with a bus error, and nothing is written; --read-files reads them into memory instead.";

#[derive(Debug, Args)]
#[command(after_help = MODELS)]
pub struct ExtractArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning
    pub tuned: PathBuf,
    /// The model that the device runs in place of BASE, mostly a quantised GGUF file of it: the adapter then fits
    /// this model and repairs its quantisation as well, and the report says how much of it is repair
    #[arg(long, value_name = "MODEL")]
    pub deployed_base: Option<PathBuf>,
    /// Adapter to create: a PEFT directory, a file where the name ends in .gguf (llama.cpp) or .phlora (phlora's own), or
    /// what --format says; with
    /// several ranks, OUTPUT-r8 and so on
    #[arg(short, long)]
    pub output: PathBuf,
    /// File format of the adapter, whatever its name ends in
    #[arg(long, value_enum)]
    pub format: Option<FormatArg>,
    /// What a kohya or ComfyUI file has before the modules' paths (lora_unet, lora_te1, diffusion_model, …), where names
    /// and configuration of the models do not tell
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Whose names the modules of a PEFT adapter have [default: memory; with --for another server than peft: checkpoint]
    #[arg(long, value_enum)]
    pub names: Option<NamesArg>,
    #[command(flatten)]
    pub ranks: RankArgs,
    /// Keep to what this server accepts, and list what is changed for it
    #[arg(long = "for", value_name = "SERVER", value_enum)]
    pub server: Option<ServerArg>,
    /// How the factors are found
    #[arg(long, value_enum, default_value_t = ModeArg::Auto)]
    pub mode: ModeArg,
    /// Storage format of the adapter [default: f16; a GGUF adapter within a budget: f16, q8_0, q5_0 or
    /// iq4_nl, whichever is worth the most]
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// What to store beside the factors, exactly, where the file format has a place for it: norms, biases, tokens,
    /// layers; whatever --include says. PEFT adapters hold all of them, kohya and ComfyUI files norms and biases
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    pub also: Vec<AlsoArg>,
    /// With --also tokens: of the rows that differ only those that changed the most, until they hold this share of the
    /// change, from 0 to 1 or in per cent. Rows that are new are stored in any case
    #[arg(long, value_name = "E", default_value_t = 1.0, value_parser = energy, requires = "also")]
    pub token_energy: f64,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// Most reads of a weight
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_reads: u32,
    /// Threads; one per processor by default. The adapter does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub scratch: Option<usize>,
    #[command(flatten)]
    pub work: WorkArgs,
    #[command(flatten)]
    pub saved: SavedArgs,
}

/// What of the work is done now, and where it is kept.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Do this share of the work alone, and keep it in OUTPUT, a part for phlora join: 3/8 is the third of eight; auto
    /// asks Slurm's or Kubernetes' variables, auto/8 for those that do not say how many. Started again, it goes on where
    /// it was
    #[arg(long, value_name = "I/N", value_parser = parse_share, conflicts_with_all = ["report", "resume"])]
    pub shard: Option<ShareArg>,
    /// Parts that other shares have written: --budget, and --uniform with --energy or --noise-floor, choose by all of
    /// them, so that the shares run twice
    #[arg(long, value_name = "PART", num_args = 1.., requires = "shard")]
    pub parts: Vec<PathBuf>,
    /// Keep what is found in OUTPUT.part until all is done, and start from what is there
    #[arg(long)]
    pub resume: bool,
    /// With --resume or --shard: start again, whatever is there
    #[arg(long)]
    pub fresh: bool,
}

/// What is written and said beside the adapter.
#[derive(Debug, Clone, Args)]
pub struct SavedArgs {
    /// Write a report: as JSON, or as a page for a browser where the name ends in .html
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Replace an adapter or a report that exists
    #[arg(long)]
    pub force: bool,
    /// List every module, however many there are
    #[arg(long)]
    pub modules: bool,
    /// No progress bar and no table
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The parts: one for each share
    #[arg(required = true)]
    pub parts: Vec<PathBuf>,
    /// Adapter to create, in the format that the shares were asked for
    #[arg(short, long)]
    pub output: PathBuf,
    /// Where the model before fine-tuning is now; its headers are read, and none of its weights
    #[arg(long, value_name = "MODEL")]
    pub base: Option<PathBuf>,
    /// Where the model after fine-tuning is now
    #[arg(long, value_name = "MODEL")]
    pub tuned: Option<PathBuf>,
    #[command(flatten)]
    pub saved: SavedArgs,
}

/// What is looked at, and how closely.
#[derive(Debug, Args)]
pub struct ModuleArgs {
    /// Only modules whose path matches; may be repeated. Output head, embeddings, 1-D convolutions and those of a single
    /// input channel only take part if one matches them
    #[arg(long, value_name = "RE", value_parser = pattern)]
    pub include: Vec<Regex>,
    /// No module whose path matches; may be repeated
    #[arg(long, value_name = "RE", value_parser = pattern)]
    pub exclude: Vec<Regex>,
    /// Weights of the input channels: a safetensors file with a vector per module, by its path. With the root mean
    /// squares of a layer's inputs, energies are shares of the error of its output
    #[arg(long, value_name = "FILE.safetensors")]
    pub channel_scale: Option<PathBuf>,
    /// Stop reading a weight when the next read is expected to add less than this share of the energy
    #[arg(long, value_name = "T", default_value_t = ExtractOptions::default().tolerance, value_parser = share)]
    pub tolerance: f64,
}

/// How ranks are chosen.
#[derive(Debug, Args)]
pub struct RankArgs {
    /// One rank for all modules [default: 32]; several, as in 8,16,32, write an adapter each
    #[arg(long, value_name = "R", value_delimiter = ',', value_parser = rank, group = "goal")]
    pub rank: Vec<usize>,
    /// Per module the smallest rank that keeps this share of its ‖Δ‖², from 0 to 1 or in per cent, as in 90%
    #[arg(long, value_name = "E", value_parser = energy, group = "goal")]
    pub energy: Option<f64>,
    /// The most over all modules, see --by, in files of this size, as in 20MB
    #[arg(long, value_name = "SIZE", value_parser = size, group = "goal")]
    pub budget: Option<usize>,
    /// What modules that share a budget keep the most of
    #[arg(long, value_enum, default_value_t = ByArg::Relative, conflicts_with_all = ["rank", "energy", "noise_floor"])]
    pub by: ByArg,
    /// Per module the directions that stand out of its noise
    #[arg(long, group = "goal")]
    pub noise_floor: bool,
    /// No rank above this
    #[arg(long, value_name = "R", value_parser = rank, conflicts_with = "rank")]
    pub max_rank: Option<usize>,
    /// One rank for all modules, also where they need different ones
    #[arg(long)]
    pub uniform: bool,
    /// Ranks in multiples of this
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = rank)]
    pub multiple: usize,
}

/// The scales of a file, or none.
pub fn channel_scales(path: Option<&Path>) -> Result<ChannelScales, Error> {
    path.map_or_else(|| Ok(ChannelScales::default()), ChannelScales::open)
}

impl ModuleArgs {
    /// The options that they stand for, the others at their defaults.
    pub fn options(&self) -> Result<ExtractOptions, Error> {
        let mut options = ExtractOptions::default();
        options.tolerance = self.tolerance;
        options.filter.include.clone_from(&self.include);
        options.filter.exclude.clone_from(&self.exclude);
        options.channel_scales = channel_scales(self.channel_scale.as_deref())?;
        Ok(options)
    }
}

impl RankArgs {
    /// The policy, and the ranks of the adapters where there are several.
    pub fn policy(&self) -> (Policy, &[usize]) {
        let goal = match (self.energy, self.budget, self.noise_floor) {
            (Some(share), _, _) => Goal::Energy(share),
            (_, Some(bytes), _) => Goal::Budget(bytes as u64),
            (_, _, true) => Goal::NoiseFloor,
            _ => Goal::Fixed,
        };
        let fixed = goal == Goal::Fixed;
        let given = self.rank.iter().copied().max().or(self.max_rank);
        let policy = Policy {
            goal,
            max_rank: given.unwrap_or(if fixed { Policy::default().max_rank } else { usize::MAX }),
            multiple: self.multiple,
            allowed: &[],
            uniform: self.uniform || fixed,
            by: self.by.into(),
        };
        (policy, if self.rank.len() > 1 { &self.rank } else { &[] })
    }
}

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

/// What clap would not show of the doc comment of the arguments of convert.
const CONVERTED: &str = "Between PEFT and GGUF, modules are renamed, and in some architectures the rows of query and \
    key weights are reordered. The architecture and its attention heads come from --base, or from --arch, \
    --heads and --kv-heads; what the adapter names as its base is never opened. Scales become part of lora_b in GGUF. Names of \
    a kohya or ComfyUI file need --base with its weights, whose own names undo them.";

#[derive(Debug, Args)]
#[command(after_help = CONVERTED)]
pub struct ConvertArgs {
    /// The adapter: a PEFT directory, or a file of GGUF, kohya or ComfyUI
    pub adapter: PathBuf,
    /// Adapter to create: a PEFT directory, a GGUF file where the name ends in .gguf, or what --format says
    #[arg(short, long)]
    pub output: PathBuf,
    /// File format to write, whatever its name ends in
    #[arg(long, value_enum)]
    pub format: Option<FormatArg>,
    /// What a kohya or ComfyUI file has before the modules' paths, where names and configuration of --base do not tell
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Whose names the modules of a PEFT adapter have; as they are by default, of an adapter of another format: memory
    #[arg(long, value_enum)]
    pub names: Option<NamesArg>,
    /// Storage format of the factors; as they are by default
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// The base model: a GGUF file, to check the adapter's names and shapes against as well, or a directory with
    /// config.json
    #[arg(long, value_name = "PATH")]
    pub base: Option<PathBuf>,
    /// Architecture of the base (llama, qwen2, …), where no --base says it
    #[arg(long)]
    pub arch: Option<String>,
    /// Attention heads of the base, where no --base says them
    #[arg(long, value_name = "N")]
    pub heads: Option<NonZeroUsize>,
    /// Key and value heads of the base, where they are fewer
    #[arg(long, value_name = "N", requires = "heads")]
    pub kv_heads: Option<NonZeroUsize>,
    /// Replace an adapter that exists
    #[arg(long)]
    pub force: bool,
    /// No summary
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = MODELS)]
pub struct VerifyArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning
    pub tuned: PathBuf,
    /// The adapter: a PEFT directory, or a file of GGUF, kohya or ComfyUI
    pub adapter: PathBuf,
    /// Weights of the input channels: a safetensors file with a vector per module, by its path. With the root mean
    /// squares of a layer's inputs, energies are shares of the error of its output
    #[arg(long, value_name = "FILE.safetensors")]
    pub channel_scale: Option<PathBuf>,
    /// Fail (exit code 1) when less than this share of ‖Δ‖² is kept, from 0 to 1 or in per cent
    #[arg(long, value_name = "E", value_parser = energy)]
    pub min_energy: Option<f64>,
    /// Threads; one per processor by default
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print the measurements as JSON
    #[arg(long)]
    pub json: bool,
    /// List every module, however many there are
    #[arg(long)]
    pub modules: bool,
    /// No progress bar and no table
    #[arg(short, long)]
    pub quiet: bool,
}

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

/// What clap would not show of the doc comment of the arguments of merge.
const MERGED: &str = "A base of one file becomes one file. A base of several files, or named by its directory or index, \
    becomes a directory with files of the same names, a split GGUF model a directory with the same parts; where BASE \
    names a directory or index, configuration, tokenizer and all else there is copied, but for hidden files and other \
    weights. Merged weights keep their format (F32, F16, BF16, Q8_0, Q5_1, Q5_0, Q4_1, Q4_0
    or IQ4_NL), all other bytes are those of the base.";

#[derive(Debug, Args)]
#[command(after_help = MERGED)]
pub struct MergeArgs {
    /// The base model: safetensors or GGUF, file or directory
    pub base: PathBuf,
    /// The adapters: PEFT directories, or files of GGUF, kohya or ComfyUI, whatever the base is
    #[arg(required = true)]
    pub adapters: Vec<PathBuf>,
    /// Model to create
    #[arg(short, long)]
    pub output: PathBuf,
    /// What the adapters are multiplied by, beyond their own scales: once for all, or for each in its order
    /// [default: 1]
    #[arg(long, value_name = "S", value_parser = strength, allow_negative_numbers = true)]
    pub scale: Vec<f32>,
    /// Replace a model that exists
    #[arg(long)]
    pub force: bool,
    /// Threads; one per processor by default. The model does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// No progress bar and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What `phlora extract --report` or `phlora plan --report` wrote
    pub report: PathBuf,
    /// The page to create: one file that needs no network
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
    /// Replace a page that exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A model, an adapter or a report, file or directory
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
