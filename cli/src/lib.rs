//! The `phlora` command: extracts LoRA adapters from pairs of checkpoints. A library, so that Python's wheel can have the command
//! as well; [`run`] is all of it.
//!
//! Exit codes: 0 done, 1 a check failed (nothing to extract, too little energy), 2 bad usage or input, 130
//! interrupted.

mod advice;
mod args;
mod check;
mod convert;
mod destination;
mod diff;
mod dry_run;
mod extract;
mod extracted;
mod facts;
mod failure;
mod generate;
mod grouped;
mod inspect;
mod interrupt;
mod invocation;
mod join;
mod merge;
mod mistyped;
mod modelfile;
mod plan;
mod print;
mod progress;
mod prune;
mod report;
mod reported;
mod say;
mod several;
mod shard;
mod spark;
mod summary;
mod table;
mod verify;

use args::{Cli, ColorArg, Command};
use clap::CommandFactory;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command with `arguments`, the first of which is the name that it was called by. Ends the process where the arguments
/// are wrong, ask for help, or Ctrl-C is pressed.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments = invocation::keep(arguments);
    let command = Cli::command().color(ColorArg::find(arguments.iter().skip(1).cloned()).into());
    let matches =
        command.try_get_matches_from(arguments).unwrap_or_else(|error| mistyped::explained(error).exit());
    let cli = Cli::read(&matches).unwrap_or_else(|error| error.exit());
    say::set(&cli.every);
    phlora::read_files(cli.every.read_files);
    let memory = if let Command::Extract(args) = &cli.command { args.memory } else { None };
    cli.remote.apply(memory);
    let result = match cli.command {
        Command::Extract(args) => extract::run(&args),
        Command::Join(args) => join::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Generate(args) => generate::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
