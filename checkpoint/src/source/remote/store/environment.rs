//! Settings of stores in the environment.

use std::env;
use std::path::PathBuf;

/// A variable of the environment that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The first of several that is set.
pub(super) fn variables(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| variable(name))
}

/// The home directory.
pub(super) fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from)
}
