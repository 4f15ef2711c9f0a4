//! Two models, or three, under common names: which weight of one belongs to which of the other.

pub(crate) mod aligned;
pub(crate) mod beginnings;
mod doubts;
pub(crate) mod heads;
pub(crate) mod pairs;
