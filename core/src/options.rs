//! Options of an extraction.

use crate::policy::{Goal, Policy};

/// How the factors are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// [`Mode::Exact`] for small matrices; else [`Mode::StreamOnce`] where [`Options::max_reads`] is too small for
    /// [`Mode::MultiRead`]; else [`Mode::MultiRead`]. Where that exceeds the scratch limit, exact is tried; where exact does,
    /// multi-read.
    #[default]
    Auto,
    /// One-sided Jacobi over the whole difference: one read, scratch for the whole matrix.
    Exact,
    /// Block Lanczos with kept products: several reads, scratch for the Krylov basis.
    MultiRead,
    /// Merge-and-truncate: each row is seen once (or twice, when two reads are allowed).
    StreamOnce,
}

/// Options of an extraction; start from [`Options::default`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Rank of the factors, or the largest that `goal` may choose; at least 1, capped to min(rows, cols).
    /// Default 32.
    pub rank: usize,
    /// How the rank follows from the singular values. Default [`Goal::Fixed`].
    pub goal: Goal,
    /// How the factors are found. Default [`Mode::Auto`].
    pub mode: Mode,
    /// Multi-read: stop when another read is expected to add less than this share of the energy kept so
    /// far. Smaller reads more often. Default 1e-3.
    pub tolerance: f64,
    /// Most reads of the matrix. Default 40.
    pub max_reads: u32,
    /// Most scratch in `f32` elements; the modes use less depth to fit. Default: no limit.
    pub max_scratch: usize,
    /// Multi-read: columns that a read multiplies, 8 or 16; 0, the default, chooses by the rank. Without the feature `wide` it is 8.
    pub width: usize,
    /// Row ranges that may be pushed from different threads; each costs scratch for one panel of products.
    /// The result depends on this number, so derive it from the shape, never from the thread count.
    /// Default 1.
    pub parts: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rank: Policy::default().max_rank,
            goal: Goal::Fixed,
            mode: Mode::Auto,
            tolerance: 1e-3,
            max_reads: 40,
            max_scratch: usize::MAX,
            width: 0,
            parts: 1,
        }
    }
}
