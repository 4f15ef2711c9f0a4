//! What can be done with models and adapters, a module for each.

pub(crate) mod check;
pub(crate) mod convert;
pub(crate) mod extract;
pub(crate) mod inspect;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod prune;
pub(crate) mod verify;
