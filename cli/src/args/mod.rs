//! The command line: a file for the arguments of each command, and for those that several share.

mod asked;
mod check;
mod choices;
mod convert;
mod diff;
mod every;
mod extract;
mod heading;
mod merge;
mod modules;
#[cfg(test)]
mod parity;
mod plan;
mod prune;
mod ranks;
mod remote;
mod report;
mod units;
mod verify;

pub use check::CheckArgs;
pub use choices::{
    AlsoArg, ByArg, ConsumerArg, DtypeArg, FormatArg, ModeArg, NamesArg, ServerArg, check_bits,
};
pub use convert::ConvertArgs;
pub use diff::DiffArgs;
pub use every::{ColorArg, EveryArgs};
pub use extract::{ExtractArgs, JoinArgs};
pub use merge::MergeArgs;
pub use modules::{ModuleArgs, channel_scales};
pub use plan::PlanArgs;
pub use prune::PruneArgs;
pub use ranks::RankArgs;
pub use report::{GenerateArgs, InspectArgs, ReportArgs};
pub use verify::VerifyArgs;

use clap::{ArgMatches, FromArgMatches, Parser, Subcommand};
use remote::RemoteArgs;

/// Extracts LoRA adapters from pairs of checkpoints, without data and without training.
#[derive(Debug, Parser)]
#[command(name = "phlora", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub every: EveryArgs,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

impl Cli {
    /// The arguments of `matches`.
    ///
    /// # Errors
    /// When they are not those of the command line.
    pub fn read(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        if let (Command::Extract(extract), Some(("extract", own))) = (&mut cli.command, matches.subcommand())
        {
            extract.asked = asked::words(own);
        }
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an adapter of the difference of two models, for PEFT, llama.cpp, kohya's scripts or ComfyUI
    Extract(Box<ExtractArgs>),
    /// Put the part files of an extraction that was done in shards together
    Join(JoinArgs),
    /// Say which rank to take, and what ranks and bytes would keep, without writing an adapter
    Plan(PlanArgs),
    /// Compare two models, or two adapters
    Diff(DiffArgs),
    /// Find what makes llama.cpp, PEFT, vLLM and others refuse, crash on or ignore an adapter
    Check(CheckArgs),
    /// Write an adapter in another format: PEFT, mlx-lm, GGUF, kohya or ComfyUI, or with factors of another type
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
    /// Write the manual pages and the completions of shells, for packages
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// What clap would not show of the doc comment of a subcommand's arguments.
const MODELS: &str = "A model is a .safetensors file, a directory that holds model.safetensors, or a directory \
    of shards with model.safetensors.index.json; or a GGUF file, any file of a split one, or a directory with \
    one GGUF model. Or the address of one of these: hf://ORG/MODEL[@REVISION], https://, s3://, gs:// or az://; only \
    headers and the weights that take part are fetched, and nothing stays on disk. Files are mapped and must not \
    change during the run: where one gets shorter, the system ends phlora with a bus error, and nothing is written; --read-files reads them into memory instead.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
