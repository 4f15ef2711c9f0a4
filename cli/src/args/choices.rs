//! Options whose value is one of a few words.

use crate::failure::Failure;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use phlora::{AdapterFormat, Also, Consumer, Criterion, Dtype, Layers, Mode, Names, Server, Tokens};
use std::path::Path;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ServerArg {
    Peft,
    Vllm,
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Lorax,
    Slora,
    Punica,
}

impl From<ServerArg> for Server {
    fn from(server: ServerArg) -> Self {
        match server {
            ServerArg::Peft => Self::Peft,
            ServerArg::Vllm => Self::Vllm,
            ServerArg::LlamaCpp => Self::LlamaCpp,
            ServerArg::Lorax => Self::Lorax,
            ServerArg::Slora => Self::Slora,
            ServerArg::Punica => Self::Punica,
        }
    }
}

/// What an adapter is checked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ConsumerArg {
    Vllm,
    Sglang,
    Diffusers,
    Peft,
    Ollama,
    Mlx,
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl From<ConsumerArg> for Consumer {
    fn from(consumer: ConsumerArg) -> Self {
        match consumer {
            ConsumerArg::Vllm => Self::Vllm,
            ConsumerArg::Sglang => Self::Sglang,
            ConsumerArg::Diffusers => Self::Diffusers,
            ConsumerArg::Peft => Self::Peft,
            ConsumerArg::Ollama => Self::Ollama,
            ConsumerArg::Mlx => Self::Mlx,
            ConsumerArg::LlamaCpp => Self::LlamaCpp,
        }
    }
}

/// Whose names the modules of a PEFT adapter have.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum NamesArg {
    /// As transformers 5 builds the model in memory, experts stacked: what the current PEFT looks for
    Memory,
    /// As the checkpoint spells them: for older versions and for servers that read them so
    Checkpoint,
}

impl From<NamesArg> for Names {
    fn from(names: NamesArg) -> Self {
        match names {
            NamesArg::Memory => Self::Memory,
            NamesArg::Checkpoint => Self::Checkpoint,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeArg {
    /// Exact for small weights; else multi-read, or stream-once where --max-reads is too small for it
    Auto,
    /// Whole singular value decomposition: one read, scratch for the whole difference
    Exact,
    /// Block Lanczos: several reads, little scratch
    MultiRead,
    /// Merge and truncate: at most two reads, less exact
    StreamOnce,
}

/// What a budget over modules keeps the most of.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ByArg {
    /// What changes the weights of the modules the most for their sizes
    Relative,
    /// The energy of all modules together
    Energy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DtypeArg {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q5_1")]
    Q5_1,
    #[value(name = "q5_0")]
    Q5_0,
    #[value(name = "q4_1")]
    Q4_1,
    #[value(name = "iq4_nl")]
    Iq4Nl,
    #[value(name = "q4_0")]
    Q4_0,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatArg {
    /// A directory for PEFT and the servers
    Peft,
    /// A file for llama.cpp
    Gguf,
    /// A safetensors file with names as lora_unet_down_blocks_0_…, for kohya's scripts, diffusers and ComfyUI
    Kohya,
    /// A safetensors file with names as diffusion_model.input_blocks.…, for ComfyUI
    Comfy,
    /// A directory for mlx-lm, with one rank for all modules
    Mlx,
    /// A file of phlora's own with 1 to 8 bits per entry, for its runtime: extract and prune write it, at --rank or --budget
    Phlora,
}

impl FormatArg {
    /// Takes the formats that hold the factors one by one: all but the compact form, which few commands write.
    pub fn factored() -> impl TypedValueParser<Value = Self> {
        let others = Self::value_variants().iter().filter(|format| !matches!(format, Self::Phlora));
        PossibleValuesParser::new(others.filter_map(ValueEnum::to_possible_value))
            .try_map(|word| Self::from_str(&word, false))
    }

    /// The single safetensors files of the command that has all formats.
    pub const FILES: &str = "kohya, comfy or phlora";

    /// Those of a command that has formats of factors alone.
    pub const FACTORED: &str = "kohya or comfy";

    /// The format of an adapter at `path`, with the one that was asked for, of a command that writes these single `files`.
    ///
    /// # Errors
    /// When the path is that of a single file, of which there are two kinds.
    pub fn of(asked: Option<Self>, path: &Path, files: &str) -> Result<AdapterFormat, Failure> {
        let safetensors =
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
        match asked {
            Some(format) => Ok(format.into()),
            None if safetensors => Err(Failure::Usage(format!(
                "{}: one safetensors file is --format {files}; PEFT's adapter is a directory",
                path.display()
            ))),
            None => Ok(AdapterFormat::of_path(path)),
        }
    }
}

/// Refuses a format of factors where directions have bits of their own.
///
/// # Errors
/// When there is one.
pub fn check_bits(format: AdapterFormat, dtype: Option<DtypeArg>) -> Result<(), Failure> {
    if format == AdapterFormat::Phlora && dtype.is_some() {
        let problem =
            "the compact form has bits of its own for each direction: leave --dtype out, or choose --budget";
        return Err(Failure::Usage(problem.into()));
    }
    Ok(())
}

impl From<FormatArg> for AdapterFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Peft => Self::Peft,
            FormatArg::Gguf => Self::Gguf,
            FormatArg::Kohya => Self::Kohya,
            FormatArg::Comfy => Self::Comfy,
            FormatArg::Mlx => Self::Mlx,
            FormatArg::Phlora => Self::Phlora,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlsoArg {
    /// Weights and biases of normalisations
    Norms,
    /// Biases of modules; in PEFT's format of those with factors
    Biases,
    /// Rows of the vocabulary that differ or are new
    Tokens,
    /// Rows of the vocabulary that the base lacks
    NewTokens,
    /// Layers that PEFT takes whole alone, such as dilated convolutions; without a word of it they are stored where
    /// all of them need no more bytes than the factors
    Layers,
}

impl AlsoArg {
    /// All that was asked for.
    pub fn all(asked: &[Self]) -> Also {
        let has = |what| asked.contains(&what);
        let mut also = Also::default();
        also.norms = has(Self::Norms);
        also.biases = has(Self::Biases);
        also.tokens = Tokens::of(has(Self::Tokens), has(Self::NewTokens));
        also.layers = if has(Self::Layers) { Layers::All } else { Layers::Small };
        also
    }
}

impl From<ByArg> for Criterion {
    fn from(by: ByArg) -> Self {
        match by {
            ByArg::Relative => Self::Relative,
            ByArg::Energy => Self::Energy,
        }
    }
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Auto => Self::Auto,
            ModeArg::Exact => Self::Exact,
            ModeArg::MultiRead => Self::MultiRead,
            ModeArg::StreamOnce => Self::StreamOnce,
        }
    }
}

impl From<DtypeArg> for Dtype {
    fn from(dtype: DtypeArg) -> Self {
        match dtype {
            DtypeArg::F32 => Self::F32,
            DtypeArg::F16 => Self::F16,
            DtypeArg::Bf16 => Self::Bf16,
            DtypeArg::Q8_0 => Self::Q8_0,
            DtypeArg::Q5_1 => Self::Q5_1,
            DtypeArg::Q5_0 => Self::Q5_0,
            DtypeArg::Q4_1 => Self::Q4_1,
            DtypeArg::Iq4Nl => Self::Iq4Nl,
            DtypeArg::Q4_0 => Self::Q4_0,
        }
    }
}
