//! The jobs of the command, a module for each: extract, plan, verify, check, convert, diff, prune, merge, inspect.

pub(crate) mod check;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod extract;
pub(crate) mod inspect;
pub(crate) mod merge;
pub(crate) mod open;
mod plan;
pub(crate) mod prune;
pub(crate) mod verify;
