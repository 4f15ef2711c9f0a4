//! What a model's architecture decides about the names and the row order of its weights.

mod permutation;

pub use permutation::RowPermutation;
