//! How much is said, where it goes, and whether it has colours.

use crate::args::{ColorArg, EveryArgs};
use crate::failure::complain;
use crate::print::print;
use std::env;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicBool = AtomicBool::new(false);
/// Whether standard output holds an output, or JSON, and nothing else may go there.
static TAKEN: AtomicBool = AtomicBool::new(false);
static COLOURS: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Remembers what was asked for.
pub fn set(every: &EveryArgs) {
    QUIET.store(every.quiet, Ordering::Relaxed);
    VERBOSE.store(every.verbose, Ordering::Relaxed);
    let plain = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = || env::var_os("TERM").is_some_and(|value| value == "dumb");
    let coloured = |terminal: bool| match every.color {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => terminal && !plain() && !dumb(),
    };
    COLOURS[0].store(coloured(io::stdout().is_terminal()), Ordering::Relaxed);
    COLOURS[1].store(coloured(io::stderr().is_terminal()), Ordering::Relaxed);
}

/// Keeps standard output for what is asked for there.
pub fn take_stdout() {
    TAKEN.store(true, Ordering::Relaxed);
}

/// Whether there is to be neither a bar nor a summary.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether standard output has colours.
pub fn colours_stdout() -> bool {
    COLOURS[0].load(Ordering::Relaxed) && !TAKEN.load(Ordering::Relaxed)
}

/// Whether standard error has colours.
pub fn colours_stderr() -> bool {
    COLOURS[1].load(Ordering::Relaxed)
}

/// Prints a summary, unless there is to be none: to standard error where standard output is taken.
///
/// # Errors
/// When standard output cannot be written.
pub fn summary(text: &str) -> io::Result<()> {
    if is_quiet() {
        return Ok(());
    }
    if TAKEN.load(Ordering::Relaxed) {
        eprint!("{text}");
        return Ok(());
    }
    print(text)
}

/// Says on standard error what only `--verbose` asks for.
pub fn detail(text: impl FnOnce() -> String) {
    if VERBOSE.load(Ordering::Relaxed) {
        complain(&text());
    }
}
