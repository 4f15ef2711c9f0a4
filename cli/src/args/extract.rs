//! The arguments of `phlora extract` and `phlora join`.

use super::heading::{HOW, OUTPUT, WHAT, below};
use super::units::{energy, pattern, size};
use super::{AlsoArg, DtypeArg, FormatArg, MODELS, ModeArg, ModuleArgs, NamesArg, RankArgs, ServerArg};
use crate::shard::{ShardArg, parse_shard};
use clap::Args;
use regex::Regex;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &[&str] = &[
    "extract base tuned -o adapter -r 16",
    "extract base tuned -o adapter.gguf --budget 400kB --report report.json",
    "extract base tuned -o within --energy 90% --max-rank 64 --also norms",
    "extract base tuned -o attention -r 8 --include 'q_proj|v_proj'",
    "extract base tuned -o adapter -r 64 --dry-run",
    "extract base tuned -o ollama.gguf -r 8 --modelfile llama3.2:1b",
    "extract base tuned -o mlx --format mlx -r 8",
    "extract base tuned other -o adapters -r 16",
    "extract base tuned -o - --format gguf -r 4 > piped.gguf",
];

#[derive(Debug, Args)]
#[command(after_help = below(EXAMPLES, MODELS))]
pub struct ExtractArgs {
    /// The model before fine-tuning
    pub base: PathBuf,
    /// The model after full fine-tuning; or several of one base, which is read once then: OUTPUT is a directory, and the
    /// adapter of each has the last part of the model's path or address as its name, with parts before it where two have
    /// the same
    #[arg(required = true)]
    pub tuned: Vec<PathBuf>,
    /// The model that the device runs in place of BASE, mostly a quantised GGUF file of it: the adapter then fits
    /// this model and repairs its quantisation as well, and the report says how much of it is repair
    #[arg(long, value_name = "MODEL", help_heading = WHAT)]
    pub deployed_base: Option<PathBuf>,
    #[command(flatten)]
    pub what: ModuleArgs,
    /// What to store beside the factors, exactly, where the file format has a place for it: norms, biases, tokens,
    /// layers; whatever --include says. PEFT adapters hold all of them, kohya and ComfyUI files norms and biases
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',', help_heading = WHAT)]
    pub also: Vec<AlsoArg>,
    /// Store modules whose path matches whole, as PEFT's modules_to_save; may be repeated
    #[arg(long, value_name = "RE", value_parser = pattern, help_heading = WHAT)]
    pub save_module: Vec<Regex>,
    /// With --also tokens: of the rows that differ only those that changed the most, until they hold this share of the
    /// change, from 0 to 1 or in per cent. Rows that are new are stored in any case
    #[arg(long, value_name = "E", default_value_t = 1.0, value_parser = energy, requires = "also", help_heading = WHAT)]
    pub token_energy: f64,
    #[command(flatten)]
    pub ranks: RankArgs,
    /// How the factors are found
    #[arg(long, value_enum, default_value_t = ModeArg::Auto, help_heading = HOW)]
    pub mode: ModeArg,
    /// Most reads of a weight
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..), help_heading = HOW)]
    pub max_reads: u32,
    /// Threads; one per processor by default. The adapter does not depend on it
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub threads: Option<NonZeroUsize>,
    /// Most working memory per thread, as in 64MiB
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = HOW)]
    pub scratch: Option<usize>,
    /// Most memory of all threads and of what is read ahead, beside the adapter itself, as in 2GiB; half of it is for
    /// weights from addresses, where there are any
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = HOW)]
    pub memory: Option<usize>,
    #[command(flatten)]
    pub work: WorkArgs,
    /// Adapter to create: a PEFT directory, a file where the name ends in .gguf (llama.cpp) or .phlora (phlora's own), or
    /// what --format says; with several ranks, OUTPUT-r8 and so on. - writes a file to standard output
    #[arg(short, long, help_heading = OUTPUT)]
    pub output: PathBuf,
    /// File format of the adapter, whatever its name ends in
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub format: Option<FormatArg>,
    /// What a kohya or ComfyUI file has before the modules' paths (lora_unet, lora_te1, diffusion_model, …), where names
    /// and configuration of the models do not tell
    #[arg(long, value_name = "PREFIX", help_heading = OUTPUT)]
    pub prefix: Option<String>,
    /// Whose names the modules of a PEFT adapter have [default: memory; with --for another server than peft: checkpoint]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub names: Option<NamesArg>,
    /// Storage format of the adapter [default: f16; a GGUF adapter within a budget: f16, q8_0, q5_0 or
    /// iq4_nl, whichever is worth the most]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub dtype: Option<DtypeArg>,
    /// Keep to what this server accepts, and list what is changed for it
    #[arg(long = "for", value_name = "SERVER", value_enum, help_heading = OUTPUT)]
    pub server: Option<ServerArg>,
    /// Say what would be written, and write nothing: modules, ranks and bytes, as far as headers tell
    #[arg(long, conflicts_with_all = ["shard", "resume"], help_heading = OUTPUT)]
    pub dry_run: bool,
    /// Write a Modelfile for Ollama beside a GGUF adapter: FROM is a model of Ollama's, as in llama3.2:1b, or the GGUF file
    /// of the base
    #[arg(long, value_name = "FROM", conflicts_with = "shard", help_heading = OUTPUT)]
    pub modelfile: Option<String>,
    #[command(flatten)]
    pub saved: SavedArgs,
    /// The same as words without paths, for the model card.
    #[arg(skip)]
    pub asked: String,
}

/// What of the work is done now, and where it is kept.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Do this shard of the work alone, and keep it in OUTPUT, a part file for phlora join: 3/8 is the third of eight; auto
    /// asks Slurm's or Kubernetes' variables, auto/8 for those that do not say how many. Started again, it goes on where
    /// it was
    #[arg(long, value_name = "I/N", value_parser = parse_shard, conflicts_with_all = ["report", "resume"], help_heading = HOW)]
    pub shard: Option<ShardArg>,
    /// Part files that other shards have written: --uniform with --energy or --noise-floor chooses by all of them, so that the
    /// shards run twice; with --budget or --total-energy once is usually enough, and phlora join asks for more where it is not
    #[arg(long, value_name = "PART", num_args = 1.., requires = "shard", help_heading = HOW)]
    pub parts: Vec<PathBuf>,
    /// Keep what is found in OUTPUT.part until all is done, and start from what is there
    #[arg(long, help_heading = HOW)]
    pub resume: bool,
    /// With --resume or --shard: start again, whatever is there
    #[arg(long, help_heading = HOW)]
    pub fresh: bool,
}

/// What is written and said beside the adapter.
#[derive(Debug, Clone, Args)]
pub struct SavedArgs {
    /// Write a report: as JSON, or as a page for a browser where the name ends in .html; - is standard output
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub report: Option<PathBuf>,
    /// What the adapter is to call its base, as in org/name; without it, what its place in the hub's cache or its
    /// configuration says, or the name of its directory
    #[arg(long, value_name = "NAME", help_heading = OUTPUT)]
    pub base_name: Option<String>,
    /// Replace an adapter or a report that exists
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
    /// List every module, however many there are
    #[arg(long, help_heading = OUTPUT)]
    pub modules: bool,
    /// Print what was written, with its report, as JSON
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
}

const JOINED: &[&str] = &[
    "extract base tuned -o one.part -r 4 --shard 1/2",
    "extract base tuned -o two.part -r 4 --shard 2/2",
    "join one.part two.part -o joined",
];

#[derive(Debug, Args)]
#[command(after_help = below(JOINED, ""))]
pub struct JoinArgs {
    /// The part files: one for each shard
    #[arg(required = true)]
    pub parts: Vec<PathBuf>,
    /// Adapter to create, in the format that the shards were asked for
    #[arg(short, long, help_heading = OUTPUT)]
    pub output: PathBuf,
    /// Where the model before fine-tuning is now; its headers are read, and none of its weights
    #[arg(long, value_name = "MODEL", help_heading = WHAT)]
    pub base: Option<PathBuf>,
    /// Where the model after fine-tuning is now
    #[arg(long, value_name = "MODEL", help_heading = WHAT)]
    pub tuned: Option<PathBuf>,
    #[command(flatten)]
    pub saved: SavedArgs,
}
