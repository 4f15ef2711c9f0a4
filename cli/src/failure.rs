//! How errors end the command: the message on stderr and the exit code.

use crate::advice;
use crate::interrupt;
use crate::print::{plain, shorten};
use crate::progress;
use crate::say;
use phlora::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of a check that failed.
pub const CHECK_FAILED: u8 = 1;
/// Exit code of bad usage or input, and of outputs that cannot be written.
pub const BAD_INPUT: u8 = 2;
/// Exit code after Ctrl-C: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Longest message in characters; only names that are no real names make one longer.
const LONGEST: usize = 4000;

/// Why the command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The library refused.
    Library(Error),
    /// The command line asks for what cannot be.
    Usage(String),
    /// Standard output cannot be written.
    Stdout(io::Error),
}

impl Failure {
    /// Says why and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Whoever read the output has seen enough (`phlora … | head`).
        if !matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            complain(&self.message());
        }
        ExitCode::from(self.code())
    }

    /// Why.
    pub fn message(&self) -> String {
        match self {
            Self::Library(Error::Cancelled) => interrupt::cancelled(),
            Self::Library(error) => advice::error(error),
            Self::Usage(problem) => problem.clone(),
            Self::Stdout(error) => format!("cannot write to standard output: {error}"),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Library(Error::Cancelled) => INTERRUPTED,
            Self::Library(Error::NothingToExtract { .. }) => CHECK_FAILED,
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => BAD_INPUT,
        }
    }
}

/// Writes a message, which may hold names from files, to stderr; where that is closed there is nobody to tell.
pub fn complain(message: &str) {
    // In one piece, so that lines of several processes do not mix.
    let name = if say::colours_stderr() { "\x1b[1mphlora:\x1b[0m" } else { "phlora:" };
    let line = format!("{name} {}\n", shorten(&plain(message), LONGEST));
    let _ = progress::aside(|| io::stderr().write_all(line.as_bytes()));
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stdout(error)
    }
}
