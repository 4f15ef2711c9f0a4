//! `phlora generate`: manual pages and completions, for packages.

use crate::args::{Cli, GenerateArgs};
use crate::failure::Failure;
use crate::say;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use std::fs;
use std::io;
use std::process::ExitCode;

pub fn run(args: &GenerateArgs) -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", args.directory.display()));
    let pages = args.directory.join("man").join("man1");
    let completions = args.directory.join("completions");
    fs::create_dir_all(&pages).map_err(failed)?;
    fs::create_dir_all(&completions).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &pages).map_err(failed)?;
    for &shell in Shell::value_variants() {
        clap_complete::generate_to(shell, &mut Cli::command(), "phlora", &completions).map_err(failed)?;
    }
    say::summary(&format!("wrote {} and {}\n", pages.display(), completions.display()))?;
    Ok(ExitCode::SUCCESS)
}
