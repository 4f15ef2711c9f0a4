//! The arguments of `phlora extract` and `phlora join`.

use super::units::{energy, size};
use super::{AlsoArg, DtypeArg, FormatArg, MODELS, ModeArg, ModuleArgs, NamesArg, RankArgs, ServerArg};
use crate::share::{ShareArg, parse_share};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

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
    /// Write a report as JSON
    #[arg(long, value_name = "FILE.json")]
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
