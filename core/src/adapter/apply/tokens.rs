//! The tokens of a batch that use one adapter.

use core::ops::Range;

use super::route::Assignment;
use crate::{Adapter, Kernel, Rows, adapter::factors::Factor, linalg::scratch::Scratch};

/// An adapter and its tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group<'a> {
    pub kernel: Kernel,
    pub adapter: Adapter<'a>,
    pub tokens: Tokens<'a>,
}

/// Tokens with their weights.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tokens<'a> {
    All(usize),
    Some(&'a [Assignment]),
}

impl Tokens<'_> {
    pub fn len(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::Some(list) => list.len(),
        }
    }

    /// The `i`-th token's place in the batch, and its weight; `None` beyond the last.
    pub fn get(&self, i: usize) -> Option<(usize, f32)> {
        match self {
            Self::All(count) => (i < *count).then_some((i, 1.0)),
            Self::Some(list) => list.get(i).map(|of| (of.token as usize, of.weight)),
        }
    }
}

impl Group<'_> {
    /// Elements of t: per rank one of each token.
    pub fn t_scratch(&self) -> Scratch {
        Scratch::matrix(self.adapter.rank(), self.tokens.len())
    }

    /// What multiplies the `i`-th token's B·A·x.
    pub fn strength(&self, i: usize) -> f32 {
        self.tokens.get(i).map_or(0.0, |(_, weight)| self.adapter.scale() * weight)
    }
}

/// Rows of a factor as they are stored.
pub(super) fn stored(factor: Factor<'_>, rows: Range<usize>) -> Rows<'_> {
    Rows::new(factor.dtype, factor.rows(rows.start, rows.len()))
}
