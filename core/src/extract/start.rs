//! From a shape and options to a plan, and from a plan to an extraction.

use super::{
    exact::Exact,
    extractor::{Extractor, State},
    krylov::{self, Krylov},
    plan::{MAX_PARTS, Plan},
    stream::Stream,
};
use crate::{Error, Kernel, Mode, Options, Shape, linalg::scratch::Scratch};

/// Up to this narrow side, and a wide side of eight times as much, [`Mode::Auto`] decomposes exactly, whatever the rank: that
/// takes milliseconds. Jacobi over longer vectors costs several times what a Krylov space does.
const EXACT_SIDE: usize = 128;

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
        let plan = Self {
            shape,
            rank: options.rank.min(narrow),
            goal: options.goal,
            mode: options.mode,
            tolerance: options.tolerance,
            max_reads: options.max_reads,
            parts: options.parts.clamp(1, MAX_PARTS).min(shape.rows.max(1)),
            width: match options.width {
                _ if cfg!(not(feature = "wide")) => 8,
                0 => krylov::default_width(options.rank.min(narrow)),
                1..16 => 8,
                _ => 16,
            },
            depth: 0,
            kernel: Kernel::detect(),
            scratch: 0,
        };
        let limit = options.max_scratch;
        if plan.mode != Mode::Auto {
            return plan.with_mode(plan.mode, limit);
        }
        let (first, second) = plan.preferences();
        plan.with_mode(first, limit).or_else(|error| match (error, plan.with_mode(second, limit)) {
            (_, Ok(plan)) => Ok(plan),
            (Error::ScratchTooSmall { needed: a }, Err(Error::ScratchTooSmall { needed: b })) => {
                Err(Error::ScratchTooSmall { needed: a.min(b) })
            }
            (error, Err(_)) => Err(error),
        })
    }

    /// What [`Mode::Auto`] tries: exact where it is cheap, else multi-read, or stream-once where the reads
    /// do not allow that; then what may do with less scratch.
    fn preferences(&self) -> (Mode, Mode) {
        let Shape { rows, cols } = self.shape;
        let (narrow, wide) = (rows.min(cols), rows.max(cols));
        let panels = self.rank.div_ceil(self.width);
        let small = narrow <= EXACT_SIDE || self.rank * 3 >= narrow && narrow <= 4 * EXACT_SIDE;
        if small && wide <= 8 * EXACT_SIDE {
            (Mode::Exact, Mode::MultiRead)
        } else if (self.max_reads as usize) < (panels + 1).max(3) {
            (Mode::StreamOnce, Mode::Exact)
        } else {
            (Mode::MultiRead, Mode::Exact)
        }
    }

    /// The same plan in a mode of its own, with the largest depth that fits into `limit`.
    fn with_mode(mut self, mode: Mode, limit: usize) -> Result<Self, Error> {
        self.mode = mode;
        let narrow = self.shape.rows.min(self.shape.cols);
        match mode {
            Mode::Exact => {
                self.max_reads = 1;
                self.fit(1, 1, limit)?;
            }
            Mode::StreamOnce => {
                self.width = 8;
                self.max_reads = self.max_reads.min(2);
                let least = self.rank.div_ceil(self.width).max(1);
                // More than the rank: what is cut off early may matter later.
                let most = (2 * self.rank + 16).min(narrow).div_ceil(self.width).max(least);
                self.fit(least, most, limit)?;
            }
            Mode::MultiRead | Mode::Auto => {
                let least = self.rank.div_ceil(self.width).max(1);
                // The first read makes the first panel of the basis.
                let panels = (self.max_reads as usize).saturating_sub(1);
                if panels < least {
                    return Err(Error::TooFewReads { needed: least as u32 + 1 });
                }
                // The whole space, and one panel for what a random start wastes. A goal that may ask for all of it
                // gets another one for what rounding does, and room for directions that Δ takes to nothing: where
                // singular values are equal, panels start anew, each with some of these.
                let whole = if self.goal.is_fixed() {
                    narrow.div_ceil(self.width) + 3
                } else {
                    self.shape.cols.div_ceil(self.width) + 2
                };
                let most = krylov::depth(self.rank, self.width).min(whole).max(least);
                self.fit(least, most.min(panels), limit)?;
            }
        }
        Ok(self)
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

    /// Starts an extraction in `scratch`; what it holds does not matter, and elements beyond
    /// [`scratch_len`](Self::scratch_len) stay untouched.
    ///
    /// # Errors
    /// [`Error::ScratchTooSmall`].
    pub fn start<'s>(&self, scratch: &'s mut [f32]) -> Result<Extractor<'s>, Error> {
        self.start_with(None, scratch)
    }

    /// As [`start`](Self::start), for the criterion ‖(Δ − B·A)·diag(s)‖_F in the place of ‖Δ − B·A‖_F, where
    /// `channels` holds s, a scale per column. With the root mean squares of a layer's inputs it stands for the error
    /// of the layer's output. B·A·diag(s) is the truncated decomposition of Δ·diag(s), and everything that is
    /// measured and reported is of Δ·diag(s). A column whose scale is 0 counts for nothing, and A is 0 there.
    ///
    /// # Errors
    /// [`Error::ScratchTooSmall`]; [`Error::VectorLength`] when there is not a scale per column;
    /// [`Error::NonFiniteScale`] for one that is negative or no finite number.
    pub fn start_weighed<'s>(
        &self,
        channels: &'s [f32],
        scratch: &'s mut [f32],
    ) -> Result<Extractor<'s>, Error> {
        if channels.len() != self.shape.cols {
            return Err(Error::VectorLength);
        }
        if channels.iter().any(|scale| !scale.is_finite() || *scale < 0.0) {
            return Err(Error::NonFiniteScale);
        }
        self.start_with(Some(channels), scratch)
    }

    fn start_with<'s>(
        &self,
        channels: Option<&'s [f32]>,
        scratch: &'s mut [f32],
    ) -> Result<Extractor<'s>, Error> {
        let scratch =
            scratch.get_mut(..self.scratch).ok_or(Error::ScratchTooSmall { needed: self.scratch })?;
        let state = match (self.mode, self.width) {
            (Mode::Exact, _) => State::Exact(Exact::new(self, channels, scratch)),
            (Mode::StreamOnce, _) => State::Stream(Stream::new(self, channels, scratch)),
            #[cfg(feature = "wide")]
            (_, 16) => State::Krylov16(Krylov::new(self, channels, scratch)),
            _ => State::Krylov8(Krylov::new(self, channels, scratch)),
        };
        Ok(Extractor { state, max_rank: self.rank, channels })
    }
}
