//! The sans-I/O extractor: a plan, a state that asks for reads, a report.

use crate::{Delta, Error, Mode, Options, Rows, Shape};
use core::ops::Range;

/// A checked extraction: shape, rank, mode, scratch and reads.
#[derive(Debug, Clone, Copy)]
pub struct Plan {}

impl Plan {
    /// Checks `shape` and `options`.
    pub fn new(_shape: Shape, _options: &Options) -> Result<Self, Error> {
        todo!()
    }
    /// Rank of the factors: the one asked for, at most min(rows, cols).
    pub fn rank(&self) -> usize {
        todo!()
    }
    /// The mode chosen, never [`Mode::Auto`].
    pub fn mode(&self) -> Mode {
        todo!()
    }
    /// Most reads of the matrix.
    pub fn max_reads(&self) -> u32 {
        todo!()
    }
    /// Scratch in `f32` elements.
    pub fn scratch_len(&self) -> usize {
        todo!()
    }
    /// Starts an extraction in `scratch` (its contents do not matter).
    pub fn start<'s>(&self, _scratch: &'s mut [f32]) -> Result<Extractor<'s>, Error> {
        todo!()
    }
}

/// A running extraction.
#[derive(Debug)]
pub struct Extractor<'s> {
    _x: &'s mut [f32],
}

impl Extractor<'_> {
    /// Whether another read of all rows is wanted.
    pub fn wants_pass(&self) -> bool {
        todo!()
    }
    /// Reads finished so far.
    pub fn reads(&self) -> u32 {
        todo!()
    }
    /// The next rows of this pass, both sides.
    pub fn push(&mut self, _base: Rows<'_>, _tuned: Rows<'_>) -> Result<(), Error> {
        todo!()
    }
    /// The row ranges of this pass, in order and disjoint; each may be fed by another thread.
    /// Instead of [`push`](Self::push), not beside it.
    pub fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        core::iter::empty()
    }
    /// Ends the pass: every row was pushed.
    pub fn end_pass(&mut self) -> Result<(), Error> {
        todo!()
    }
    /// Measurements of the difference, complete after the first pass.
    pub fn delta(&self) -> Delta {
        todo!()
    }
    /// Writes the factors: `a` is lora_a [rank, cols], `b` is lora_b [rows, rank], both row-major with
    /// √Σ in each; `singular_values` [rank], descending.
    pub fn finish(
        self,
        _a: &mut [f32],
        _b: &mut [f32],
        _singular_values: &mut [f32],
    ) -> Result<Report, Error> {
        todo!()
    }
}

/// One row range of a pass.
#[derive(Debug)]
pub struct Part<'p> {
    _x: &'p mut [f32],
}

impl Part<'_> {
    /// Rows of the matrix that belong to this part.
    pub fn rows(&self) -> Range<usize> {
        todo!()
    }
    /// The next rows of this part, both sides.
    pub fn push(&mut self, _base: Rows<'_>, _tuned: Rows<'_>) -> Result<(), Error> {
        todo!()
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
    /// Whether the tolerance was met (exact mode: whether the sweeps converged).
    pub converged: bool,
    /// Sweeps of the last one-sided Jacobi SVD.
    pub sweeps: u32,
}

impl Report {
    /// Kept energy Σσ²/‖Δ‖²_F in 0..=1; 1 for a difference of zero.
    pub fn energy(&self) -> f64 {
        if self.delta.sum_squares > 0.0 { (self.kept / self.delta.sum_squares).min(1.0) } else { 1.0 }
    }
}
