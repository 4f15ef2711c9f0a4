//! The sans-I/O extractor: a plan, a state that asks for reads, a report.
//!
//! ```text
//! Plan ── start(scratch) ──► Extractor ── wants_pass? push… end_pass ──► finish(A, B)
//!                             ├ Exact      one read, one-sided Jacobi over the whole difference
//!                             ├ Krylov     block Lanczos, as many reads as the tolerance takes
//!                             └ Stream     merge-and-truncate, one read or two
//! ```

mod exact;
mod factors;
mod krylov;
mod outlook;
mod pass;
mod plan;
mod stream;

use crate::{Delta, Error, Rows};
use exact::Exact;
use krylov::Krylov;
pub use pass::Part;
pub use plan::Plan;
use stream::Stream;

/// A running extraction, in the caller's scratch.
///
/// After an error of `push` or `end_pass` other than [`Error::OutOfOrder`], [`Error::BlockNotWholeRows`],
/// [`Error::TooManyRows`] and [`Error::MissingRows`], the extraction cannot go on.
#[derive(Debug)]
pub struct Extractor<'s>(State<'s>);

#[derive(Debug)]
enum State<'s> {
    Exact(Exact<'s>),
    Krylov8(Krylov<'s, 8>),
    Krylov16(Krylov<'s, 16>),
    Stream(Stream<'s>),
}

/// Calls the same method of whichever state it is.
macro_rules! each {
    ($state:expr, $name:ident => $body:expr) => {
        match $state {
            State::Exact($name) => $body,
            State::Krylov8($name) => $body,
            State::Krylov16($name) => $body,
            State::Stream($name) => $body,
        }
    };
}

impl Extractor<'_> {
    /// Whether another read of all rows is wanted.
    pub fn wants_pass(&self) -> bool {
        each!(&self.0, state => state.wants_pass())
    }

    /// Reads finished so far.
    pub fn reads(&self) -> u32 {
        each!(&self.0, state => state.reads())
    }

    /// Measurements of the difference, complete after the first pass.
    pub fn delta(&self) -> Delta {
        each!(&self.0, state => state.delta())
    }

    /// The next rows of this pass: the same run of whole rows of both sides, in any number. The result
    /// does not depend on how the rows are cut into blocks.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] when no pass is wanted, [`Error::BlockNotWholeRows`], [`Error::TooManyRows`].
    /// Nothing of a refused block is used.
    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        each!(&mut self.0, state => state.push(base, tuned))
    }

    /// The row ranges of this pass, disjoint and in order; each may be fed from another thread. Use it in
    /// the place of [`push`](Self::push): both see the same progress. Empty when no pass is wanted.
    pub fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        let (mut krylov8, mut krylov16, mut whole) = (None, None, None);
        match &mut self.0 {
            State::Krylov8(state) => krylov8 = Some(state.parts().map(Part::from)),
            State::Krylov16(state) => krylov16 = Some(state.parts().map(Part::from)),
            State::Exact(state) => whole = state.wants_pass().then(|| Part::from(state)),
            State::Stream(state) => whole = state.wants_pass().then(|| Part::from(state)),
        }
        krylov8.into_iter().flatten().chain(krylov16.into_iter().flatten()).chain(whole)
    }

    /// Ends the pass, after every row was pushed.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`], [`Error::MissingRows`], and after the first pass [`Error::NonFinite`].
    pub fn end_pass(&mut self) -> Result<(), Error> {
        each!(&mut self.0, state => state.end_pass())
    }

    /// Writes the factors, with √Σ in each: Δ ≈ B·A.
    ///
    /// * `a`: lora_a, rank × cols, row-major;
    /// * `b`: lora_b, rows × rank, row-major;
    /// * `singular_values`: rank elements, descending.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] while a pass is wanted or after an error, [`Error::OutputLength`]. Nothing is
    /// written in either case.
    pub fn finish(self, a: &mut [f32], b: &mut [f32], singular_values: &mut [f32]) -> Result<Report, Error> {
        let mut outputs = factors::Outputs { a, b, singular_values };
        each!(self.0, state => state.finish(&mut outputs))
    }
}

/// What was extracted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Rank of the factors.
    pub rank: usize,
    /// Measurements of the difference.
    pub delta: Delta,
    /// Σσ² over the kept singular values.
    pub kept: f64,
    /// Reads of the matrix.
    pub reads: u32,
    /// Multi-read: whether the tolerance was met. Exact: whether the sweeps converged. Stream-once: true, as
    /// one or two reads are all that it takes.
    pub converged: bool,
    /// Sweeps of the last one-sided Jacobi decomposition.
    pub sweeps: u32,
}

impl Report {
    /// Kept energy Σσ²/‖Δ‖²_F, from 0 to 1; 1 where the difference is zero.
    pub fn energy(&self) -> f64 {
        if self.delta.sum_squares > 0.0 { (self.kept / self.delta.sum_squares).min(1.0) } else { 1.0 }
    }
}
