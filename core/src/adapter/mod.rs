//! Uses of adapters: apply, merge, combine, and a registry of adapters that are replaced while they are used.

pub mod apply;
pub mod combine;
pub mod factors;
pub mod merge;
pub mod registry;
