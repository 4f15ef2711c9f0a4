//! A running extraction.

use super::{
    exact::Exact,
    factors::Outputs,
    krylov::Krylov,
    pass::{Part, Whole},
    report::Report,
    stream::Stream,
};
use crate::{Delta, Error, Rows};

/// A running extraction, in the caller's scratch.
///
/// After an error of `push` or `end_pass` other than [`Error::OutOfOrder`], [`Error::NotWholeRows`],
/// [`Error::TooManyRows`] and [`Error::MissingRows`], the extraction cannot go on.
#[derive(Debug)]
pub struct Extractor<'s> {
    pub(super) state: State<'s>,
    pub(super) max_rank: usize,
    pub(super) channels: Option<&'s [f32]>,
}

#[derive(Debug)]
#[cfg_attr(
    not(feature = "wide"),
    expect(clippy::large_enum_variant, reason = "there is one of them, in the caller's memory")
)]
pub(super) enum State<'s> {
    Exact(Exact<'s>),
    Krylov8(Krylov<'s, 8>),
    #[cfg(feature = "wide")]
    Krylov16(Krylov<'s, 16>),
    Stream(Stream<'s>),
}

/// Calls the same method of whichever state it is.
macro_rules! each {
    ($state:expr, $name:ident => $body:expr) => {
        match $state {
            State::Exact($name) => $body,
            State::Krylov8($name) => $body,
            #[cfg(feature = "wide")]
            State::Krylov16($name) => $body,
            State::Stream($name) => $body,
        }
    };
}

impl Extractor<'_> {
    /// Whether another read of all rows is wanted.
    pub fn wants_pass(&self) -> bool {
        each!(&self.state, state => state.wants_pass())
    }

    /// Reads finished so far.
    pub fn reads(&self) -> u32 {
        each!(&self.state, state => state.reads())
    }

    /// Rank of the factors: the plan's while reads are wanted, then the one that the goal has chosen. It may be 0: the
    /// difference is zero, or has no direction above its noise.
    pub fn rank(&self) -> usize {
        each!(&self.state, state => state.rank())
    }

    /// Measurements of the difference; `None` before all rows were measured: after the first pass or, where that looks at
    /// some of the rows only, after the second or third.
    pub fn delta(&self) -> Option<Delta> {
        each!(&self.state, state => state.delta())
    }

    /// The next rows of this pass: a chunk of whole rows, the same ones of both sides, in any
    /// number. The result does not depend on how the rows are cut into chunks.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] when no pass is wanted, [`Error::NotWholeRows`], [`Error::NotWholeBlocks`],
    /// [`Error::TooManyRows`]. Nothing of a refused chunk is used.
    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        if !self.wants_pass() {
            return Err(Error::OutOfOrder);
        }
        each!(&mut self.state, state => state.push(base, tuned))
    }

    /// The row ranges of this pass, disjoint and in order; each may be fed from another thread. Use it in
    /// the place of [`push`](Self::push): both see the same progress. Empty when no pass is wanted.
    pub fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        let (mut krylov8, mut whole) = (None, None);
        #[cfg(feature = "wide")]
        let mut krylov16 = None;
        match &mut self.state {
            State::Krylov8(state) => krylov8 = Some(state.parts().map(Part::from)),
            #[cfg(feature = "wide")]
            State::Krylov16(state) => krylov16 = Some(state.parts().map(Part::from)),
            State::Exact(state) => whole = state.wants_pass().then(|| Part::from(state)),
            State::Stream(state) => whole = state.wants_pass().then(|| Part::from(state)),
        }
        let parts = krylov8.into_iter().flatten();
        #[cfg(feature = "wide")]
        let parts = parts.chain(krylov16.into_iter().flatten());
        parts.chain(whole)
    }

    /// Ends the pass, after every row was pushed.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`], [`Error::MissingRows`], and where all rows were measured
    /// [`Error::NonFinite`].
    pub fn end_pass(&mut self) -> Result<(), Error> {
        self.end_pass_watched(&mut |_| ())
    }

    /// As [`end_pass`](Self::end_pass). In exact mode, where most of the time goes here, `watch` is told now and then how many
    /// sweeps of the decomposition are done, counting what is done of the one that is under way.
    ///
    /// # Errors
    /// As [`end_pass`](Self::end_pass).
    pub fn end_pass_watched(&mut self, watch: &mut dyn FnMut(f32)) -> Result<(), Error> {
        match &mut self.state {
            State::Exact(state) => state.end_pass(watch),
            State::Krylov8(state) => state.end_pass(),
            #[cfg(feature = "wide")]
            State::Krylov16(state) => state.end_pass(),
            State::Stream(state) => state.end_pass(),
        }
    }

    /// Writes the factors, with √Σ in each: Δ ≈ B·A.
    ///
    /// * `a`: lora_a, rank × cols, row-major, [`rank`](Self::rank) being what it is now;
    /// * `b`: lora_b, rows × rank, row-major;
    /// * `singular_values`: at least rank elements, descending. Those beyond the rank are estimates from below,
    ///   as far as the extraction came to know them ([`Plan::most_singular_values`](crate::Plan::most_singular_values)), then zeros.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] while a pass is wanted or after an error, [`Error::OutputLength`],
    /// [`Error::OutOfRange`] where a singular value exceeds f32. Nothing is written in any of these cases. Where it is the
    /// scales of the columns ([`Plan::start_weighed`](crate::Plan::start_weighed)) that take A out of range, the outputs hold
    /// zeros.
    pub fn finish(self, a: &mut [f32], b: &mut [f32], singular_values: &mut [f32]) -> Result<Report, Error> {
        let rank = self.rank();
        self.finish_at(rank, a, b, singular_values)
    }

    /// As [`finish`](Self::finish), at another `rank`. Directions beyond the one that the goal chose are as good
    /// as the space that was read for it; where it holds no more, they are zeros.
    ///
    /// # Errors
    /// As [`finish`](Self::finish); [`Error::RankTooLarge`] beyond the plan's rank.
    pub fn finish_at(
        self,
        rank: usize,
        a: &mut [f32],
        b: &mut [f32],
        singular_values: &mut [f32],
    ) -> Result<Report, Error> {
        if rank > self.max_rank {
            return Err(Error::RankTooLarge { most: self.max_rank });
        }
        let mut outputs = Outputs { a, b, singular_values, rank };
        let report = each!(self.state, state => state.finish(&mut outputs))?;
        if let Some(channels) = self.channels {
            outputs.unweigh(channels);
        }
        outputs.check_finite()?;
        Ok(report)
    }
}
