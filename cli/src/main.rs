//! The `phlora` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    phlora_cli::run(std::env::args_os().collect())
}
