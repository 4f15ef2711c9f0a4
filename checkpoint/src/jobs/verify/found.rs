//! What is found of one pair of weights.

use serde::Serialize;

/// What an adapter makes of a tensor without factors.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VerifiedTensor {
    /// Name of the tensor.
    pub name: String,
    /// Rows that the adapter holds, where it is not the whole tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// ‖Δ‖_F of what it changes and the base has.
    pub delta_norm: f64,
    /// ‖tuned − changed‖_F of what it changes, rows that the base lacks among it.
    pub residual_norm: f64,
    /// ‖Δ‖_F of rows that it does not change.
    pub outside_norm: f64,
}

/// Squared norms of one pair.
pub(super) struct Measured {
    pub(super) delta: f64,
    /// What the factors leave of it.
    pub(super) rest: f64,
    /// Beside it: what the adapter does not touch.
    pub(super) outside: f64,
}
