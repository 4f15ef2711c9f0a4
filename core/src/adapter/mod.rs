//! Adapters at work: apply, merge, combine, and a registry of those that change while they are used.

pub mod apply;
pub mod combine;
pub mod factors;
pub mod merge;
pub mod registry;
