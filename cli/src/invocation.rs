//! The arguments that the command was called with: not those of the process, which may be Python's.

use std::ffi::OsString;
use std::sync::OnceLock;

static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Keeps `arguments`, the first being the command's name; the first call counts.
pub fn keep(arguments: Vec<OsString>) -> &'static [OsString] {
    ARGUMENTS.get_or_init(|| arguments)
}

/// What follows the command's name.
pub fn arguments() -> Vec<String> {
    let all = ARGUMENTS.get().map_or(&[][..], Vec::as_slice);
    all.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}
