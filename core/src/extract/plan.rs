//! A checked extraction: mode, depth, scratch and reads.

use crate::{Goal, Kernel, Mode, Shape};

/// Row ranges at most.
pub const MAX_PARTS: usize = 8;

/// A checked extraction: what it will do, and in how much scratch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub(super) shape: Shape,
    /// The largest rank.
    pub(super) rank: usize,
    pub(super) goal: Goal,
    pub(super) mode: Mode,
    pub(super) tolerance: f64,
    pub(super) max_reads: u32,
    pub(super) parts: usize,
    /// Width of a panel.
    pub(super) width: usize,
    /// Panels of the basis at most (stream-once: panels that are kept).
    pub(super) depth: usize,
    pub(super) kernel: Kernel,
    pub(super) scratch: usize,
}

impl Plan {
    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Largest rank of the factors: the one asked for, at most min(rows, cols).
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Most singular values that an extraction comes to know, the ones beyond its rank from below.
    pub fn most_singular_values(&self) -> usize {
        let found = match self.mode {
            Mode::Exact => usize::MAX,
            _ => self.depth * self.width,
        };
        found.min(self.shape.rows).min(self.shape.cols)
    }

    /// The mode chosen, never [`Mode::Auto`].
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Most reads of the matrix; one more happens where the difference is so large or so small that it has
    /// to be scaled.
    pub const fn max_reads(&self) -> u32 {
        self.max_reads
    }

    /// Scratch in `f32` elements.
    pub const fn scratch_len(&self) -> usize {
        self.scratch
    }

    /// Uses `kernel` in the place of the fastest one.
    #[must_use]
    pub const fn with_kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = kernel;
        self
    }
}
