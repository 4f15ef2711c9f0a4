//! Checks a shape and its options; decides the mode, the depth, the scratch and the reads.

use super::{Extractor, State, exact::Exact, krylov, krylov::Krylov, pass, stream::Stream};
use crate::{Error, Kernel, Mode, Options, Shape, scratch::Scratch};

/// Row ranges at most.
pub const MAX_PARTS: usize = 8;

/// Up to this narrow side [`Mode::Auto`] decomposes exactly: there the whole spectrum costs less than a
/// Krylov space.
const EXACT_SIDE: usize = 128;

/// A checked extraction: what it will do, and in how much scratch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    pub(super) shape: Shape,
    pub(super) rank: usize,
    pub(super) mode: Mode,
    pub(super) tolerance: f64,
    pub(super) max_reads: u32,
    pub(super) parts: usize,
    /// Block width.
    pub(super) width: usize,
    /// Blocks of the basis at most (stream-once: panels that are kept).
    pub(super) depth: usize,
    pub(super) kernel: Kernel,
    scratch: usize,
}

impl Plan {
    /// Checks `shape` and `options`.
    ///
    /// # Errors
    /// [`Error::RankZero`]; [`Error::TooLarge`]; [`Error::TooFewReads`]; [`Error::ScratchTooSmall`] when
    /// even the least depth does not fit into [`Options::max_scratch`].
    pub fn new(shape: Shape, options: &Options) -> Result<Self, Error> {
        if options.rank == 0 {
            return Err(Error::RankZero);
        }
        if options.max_reads == 0 {
            return Err(Error::TooFewReads { needed: 1 });
        }
        let narrow = shape.rows.min(shape.cols);
        // Even the smallest format must be addressable, and so must both factors.
        Scratch::matrix(shape.rows, shape.cols).count()?;
        let mut plan = Self {
            shape,
            rank: options.rank.min(narrow),
            mode: options.mode,
            tolerance: options.tolerance,
            max_reads: options.max_reads,
            parts: options.parts.clamp(1, MAX_PARTS).min(shape.rows.max(1)),
            width: 0,
            depth: 0,
            kernel: Kernel::detect(),
            scratch: 0,
        };
        if plan.mode == Mode::Auto {
            plan.mode = plan.choose(narrow, options.max_scratch);
        }
        match plan.mode {
            Mode::Exact => plan.fit(1, 1, options.max_scratch)?,
            Mode::StreamOnce => {
                plan.width = 8;
                let least = plan.rank.div_ceil(plan.width).max(1);
                // More than the rank: what is cut off early may matter later.
                let most = (2 * plan.rank + 16).min(narrow).div_ceil(plan.width).max(least);
                plan.max_reads = plan.max_reads.min(2);
                plan.fit(least, most, options.max_scratch)?;
            }
            Mode::MultiRead | Mode::Auto => {
                plan.width = match options.width {
                    0 => krylov::default_width(plan.rank),
                    width => {
                        if width >= 16 {
                            16
                        } else {
                            8
                        }
                    }
                };
                let least = plan.rank.div_ceil(plan.width).max(1);
                // The whole space, and one block for what a random start wastes.
                let whole = narrow.div_ceil(plan.width) + 1;
                let most = krylov::depth(plan.rank, plan.width).min(whole).max(least);
                if (plan.max_reads as usize) < least {
                    return Err(Error::TooFewReads { needed: least as u32 });
                }
                plan.fit(least, most.min(plan.max_reads as usize), options.max_scratch)?;
            }
        }
        Ok(plan)
    }

    /// Exact where it is cheap and fits, else multi-read; stream-once where the reads do not allow that.
    fn choose(&self, narrow: usize, max_scratch: usize) -> Mode {
        let exact = Self { mode: Mode::Exact, ..*self };
        let fits = exact.need().count().is_ok_and(|len| len <= max_scratch);
        let least = self.rank.div_ceil(krylov::default_width(self.rank));
        if fits && (narrow <= EXACT_SIDE || self.rank * 3 >= narrow && narrow <= 4 * EXACT_SIDE) {
            Mode::Exact
        } else if (self.max_reads as usize) < least.max(3) {
            Mode::StreamOnce
        } else {
            Mode::MultiRead
        }
    }

    /// Takes the largest depth from `most` down to `least` that fits into `max_scratch`.
    fn fit(&mut self, least: usize, most: usize, max_scratch: usize) -> Result<(), Error> {
        self.depth = most;
        loop {
            match self.need().count() {
                Ok(len) if len <= max_scratch => {
                    self.scratch = len;
                    return Ok(());
                }
                Ok(needed) if self.depth <= least => return Err(Error::ScratchTooSmall { needed }),
                Err(error) if self.depth <= least => return Err(error),
                _ => self.depth -= 1,
            }
        }
    }

    fn need(&self) -> Scratch {
        match self.mode {
            Mode::Exact => Exact::scratch(self),
            Mode::StreamOnce => Stream::scratch(self),
            Mode::MultiRead | Mode::Auto => krylov::scratch(self),
        }
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Rank of the factors: the one asked for, at most min(rows, cols).
    pub const fn rank(&self) -> usize {
        self.rank
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

    /// Starts an extraction in `scratch`; what it holds does not matter, and elements beyond
    /// [`scratch_len`](Self::scratch_len) stay untouched.
    ///
    /// # Errors
    /// [`Error::ScratchTooSmall`].
    pub fn start<'s>(&self, scratch: &'s mut [f32]) -> Result<Extractor<'s>, Error> {
        let scratch =
            scratch.get_mut(..self.scratch).ok_or(Error::ScratchTooSmall { needed: self.scratch })?;
        Ok(Extractor(match (self.mode, self.width) {
            (Mode::Exact, _) => State::Exact(Exact::new(self, scratch)),
            (Mode::StreamOnce, _) => State::Stream(Stream::new(self, scratch)),
            (_, 16) => State::Krylov16(Krylov::new(self, scratch)),
            _ => State::Krylov8(Krylov::new(self, scratch)),
        }))
    }
}

/// `f32` elements of a strip, as scratch.
pub fn strip_scratch(cols: usize) -> Scratch {
    pass::strip_len(cols).map_or(Scratch::OVERFLOW, Scratch::elements)
}
