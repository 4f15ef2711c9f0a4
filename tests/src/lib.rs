//! What the tests share: an independent f64 reference, generated matrices, one table of tolerances, and a
//! driver that feeds an extractor.

pub mod adapters;
pub mod drive;
pub mod matrix;
pub mod sets;
pub mod tolerance;
