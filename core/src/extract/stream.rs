//! Stream-once mode: merge-and-truncate, for rows that are seen once (flash, download, sensor) or twice.
//!
//! The state is a rank-k factor of the rows seen so far, kept as columns σᵢ·vᵢ. New rows join as further
//! columns; when their room is full, the Gram matrix of all of them gives the rotation that brings the k
//! largest directions to the front, and the rest is dropped (Iwen and Ong 2016). With one read the left
//! factor is rotated along. With two, the second read computes Y = Δ·V, which is the best B for V.

use super::{
    factors::{Outputs, Space},
    pass::{self, Part, Whole},
    plan::Plan,
    report::Report,
    strip::{self, DecodedStrip, pack, packed_len, packed_scratch, shared_scratch, strip_scratch},
};
use crate::{
    Delta, Error, Goal, Kernel, Rows, Shape, Spectrum, gram_svd,
    kernel::STRIP_ROWS,
    linalg::orthonormal::orthonormalize,
    linalg::panels::{self, PANEL_ROWS},
    linalg::scratch::{Buffer, Scratch},
};

/// Width of the panels.
const W: usize = 8;

/// Largest entries outside this range are scaled: their squares would leave the range of f32.
const SAFE: core::ops::Range<f32> = 1e-12..1e12;

/// The state of a stream-once extraction.
#[derive(Debug)]
pub struct Stream<'s> {
    kernel: Kernel,
    shape: Shape,
    /// The largest rank, then the one chosen.
    rank: usize,
    goal: Goal,
    channels: Option<&'s [f32]>,
    reads_allowed: u32,
    /// Panels that are kept; as many again take new rows.
    depth: usize,
    /// [kept; new] as panels of cols × W; after the first read the kept ones are V, and the same packed
    /// follows.
    right: &'s mut [f32],
    /// Panels of rows × W: the left factor, or Y = Δ·V in the second read.
    left: &'s mut [f32],
    /// The rows in work; between them, what the decomposition works with.
    strip: &'s mut [f32],
    gram: &'s mut [f32],
    vectors: &'s mut [f32],
    sigma: &'s mut [f32],
    temp: &'s mut [f32],
    /// New rows that wait for a merge.
    waiting: usize,
    done: usize,
    delta: Delta,
    scale: Option<f32>,
    reads: u32,
    /// Whether every eigenvalue was found.
    converged: bool,
    found: usize,
    finished: bool,
    failed: bool,
}

/// The strip; between rows, what the decomposition works with.
fn strip(plan: &Plan) -> Scratch {
    shared_scratch(strip_scratch(plan.shape.cols), Scratch::matrix(plan.depth, 2 * W))
}

impl<'s> Stream<'s> {
    pub fn scratch(plan: &Plan) -> Scratch {
        let Shape { rows, cols } = plan.shape;
        let kept = Scratch::matrix(plan.depth, W);
        let kept_len = kept.count().unwrap_or(usize::MAX);
        let all = kept.times(2).count().unwrap_or(usize::MAX);
        Scratch::matrix(cols, kept_len)
            .and(packed_scratch(cols, kept_len))
            .and(Scratch::matrix(rows, kept_len))
            .and(strip(plan))
            .and(Scratch::matrix(all, all))
            .and(Scratch::matrix(all, kept_len))
            .and(Scratch::elements(all))
            .and(Scratch::matrix(PANEL_ROWS, kept_len))
    }

    pub fn new(plan: &Plan, channels: Option<&'s [f32]>, scratch: &'s mut [f32]) -> Self {
        let mut scratch = Buffer(scratch);
        let Shape { rows, cols } = plan.shape;
        let kept = plan.depth * W;
        let state = Self {
            kernel: plan.kernel,
            shape: plan.shape,
            rank: plan.rank,
            goal: plan.goal,
            channels,
            reads_allowed: plan.max_reads,
            depth: plan.depth,
            right: scratch.take(kept * cols + packed_len(cols, kept)),
            left: scratch.take(kept * rows),
            strip: scratch.take(strip(plan).count().unwrap_or(0)),
            gram: scratch.take(4 * kept * kept),
            vectors: scratch.take(2 * kept * kept),
            sigma: scratch.take(2 * kept),
            temp: scratch.take(PANEL_ROWS * kept),
            waiting: 0,
            done: 0,
            delta: Delta::default(),
            scale: None,
            reads: 0,
            converged: true,
            found: 0,
            finished: rows == 0 || cols == 0,
            failed: false,
        };
        state.right.fill(0.0);
        state.left.fill(0.0);
        state
    }

    pub fn wants_pass(&self) -> bool {
        !self.finished && !self.failed
    }

    pub fn reads(&self) -> u32 {
        self.reads
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn delta(&self) -> Option<Delta> {
        (self.reads > 0).then_some(self.delta)
    }

    /// Columns that are kept.
    fn kept(&self) -> usize {
        self.depth * W
    }

    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        if !self.wants_pass() {
            return Err(Error::OutOfOrder);
        }
        let count = pass::count_rows(base, tuned, self.shape.cols, self.shape.rows - self.done)?;
        if self.reads == 0 {
            for i in 0..count {
                self.take_row(base, tuned, i)?;
            }
        } else {
            self.multiply(base, tuned, count);
        }
        Ok(())
    }

    /// First read: one more row becomes one more column.
    fn take_row(&mut self, base: Rows<'_>, tuned: Rows<'_>, i: usize) -> Result<(), Error> {
        let cols = self.shape.cols;
        let row = &mut self.strip[..cols];
        strip::whole_row(self.kernel, base, tuned, i, self.channels, row);
        self.kernel.measure(row, self.done, &mut self.delta);
        self.adjust_scale();
        let row = &self.strip[..cols];
        let column = self.depth * W + self.waiting;
        let panel = &mut self.right[column / W * cols * W..][..cols * W];
        let scale = self.scale.unwrap_or(1.0);
        let entries = panel[column % W..].iter_mut().step_by(W);
        entries.zip(row).for_each(|(entry, &value)| *entry = value * scale);
        self.waiting += 1;
        self.done += 1;
        if self.waiting == self.kept() { self.merge() } else { Ok(()) }
    }

    /// Rotates the largest directions to the front and drops the rest.
    fn merge(&mut self) -> Result<(), Error> {
        if self.delta.non_finite > 0 || self.waiting == 0 {
            // What is not finite is reported at the end of the pass.
            self.waiting = 0;
            return Ok(());
        }
        let (kept, all, panel) = (self.kept(), 2 * self.kept(), self.shape.cols * W);
        for last in 0..2 * self.depth {
            panels::extend_gram::<W>(self.kernel, self.shape.cols, self.right, (0, last), self.gram, all);
        }
        self.decompose(all)?;
        let vectors = &*self.vectors;
        let rotation = |k: usize, j: usize| vectors[j * all + k];
        let right = &mut self.right[..2 * self.depth * panel];
        panels::replace::<W>(self.kernel, self.shape.cols, right, self.depth, rotation, self.temp);
        self.right[self.depth * panel..].fill(0.0);
        if self.reads_allowed == 1 {
            let rows = self.shape.rows;
            panels::replace::<W>(self.kernel, rows, self.left, self.depth, rotation, self.temp);
            for i in 0..self.waiting {
                let row = self.done - self.waiting + i;
                for j in 0..kept {
                    self.left[j / W * rows * W + row * W + j % W] = rotation(kept + i, j);
                }
            }
        }
        self.waiting = 0;
        Ok(())
    }

    /// Scales what is kept, and all that follows, where the largest entry so far is too large or too small to
    /// be squared.
    fn adjust_scale(&mut self) {
        let (largest, before) = (self.delta.max_abs, self.scale.unwrap_or(1.0));
        if largest > 0.0 && !SAFE.contains(&(largest * before)) {
            let scale = pass::unit_scale(largest);
            // In two steps, as the quotient may leave the range of f32 where the products do not.
            self.right.iter_mut().for_each(|x| *x = *x / before * scale);
            self.scale = Some(scale);
        }
    }

    /// Second read: Y = Δ·V.
    fn multiply(&mut self, base: Rows<'_>, tuned: Rows<'_>, count: usize) {
        let Shape { rows, cols } = self.shape;
        let packed = packed_len(cols, W);
        let right = self.right[self.depth * cols * W..].chunks_exact(packed.max(1));
        let mut strip = DecodedStrip::new(self.kernel, cols, self.scale, self.channels, self.strip);
        for first in (0..count).step_by(STRIP_ROWS) {
            let batch = STRIP_ROWS.min(count - first);
            strip.decode((base, tuned), first, batch);
            let mut ahead = strip.ahead(base, tuned, first + batch, self.depth);
            for (p, x) in right.clone().take(self.depth).enumerate() {
                let y = &mut self.left[(p * rows + self.done) * W..][..batch * W];
                strip.forward::<W>(batch, x, y, &mut ahead);
            }
            self.done += batch;
        }
    }

    pub fn end_pass(&mut self) -> Result<(), Error> {
        if !self.wants_pass() {
            return Err(Error::OutOfOrder);
        }
        if self.done < self.shape.rows {
            return Err(Error::MissingRows { pushed: self.done });
        }
        self.close_pass().inspect_err(|_| self.failed = true)
    }

    fn close_pass(&mut self) -> Result<(), Error> {
        self.reads += 1;
        if self.reads == 2 {
            self.decompose_products()?;
            self.conclude();
            return Ok(());
        }
        if let Some(row) = self.delta.first_non_finite_row {
            return Err(Error::NonFinite { row });
        }
        // What still waits; the rows that it belongs to are counted back from the last one.
        self.merge()?;
        self.done = 0;
        if self.delta.max_abs == 0.0 || self.reads_allowed == 1 {
            self.conclude();
            return Ok(());
        }
        let panel = self.shape.cols * W;
        for p in 0..self.depth {
            let (basis, rest) = self.right.split_at_mut(p * panel);
            orthonormalize::<W>(self.kernel, self.shape.cols, basis, usize::MAX, &mut rest[..panel]);
        }
        let (panels, packed) = self.right.split_at_mut(self.depth * panel);
        let size = packed_len(self.shape.cols, W);
        for (panel, packed) in panels.chunks_exact(panel.max(1)).zip(packed.chunks_exact_mut(size.max(1))) {
            pack::<W>(panel, packed);
        }
        self.left.fill(0.0);
        Ok(())
    }

    /// Chooses the rank from what the last rotation left.
    fn conclude(&mut self) {
        let scale = f64::from(self.scale.unwrap_or(1.0));
        let spectrum = Spectrum {
            singular_values: &self.sigma[..self.found],
            sum_squares: self.delta.sum_squares * scale * scale,
            shape: self.shape,
        };
        self.rank = self.goal.rank(&spectrum, self.rank);
        self.finished = true;
    }

    /// The rotation that makes the columns of Y orthogonal.
    fn decompose_products(&mut self) -> Result<(), Error> {
        let kept = self.kept();
        for last in 0..self.depth {
            panels::extend_gram::<W>(self.kernel, self.shape.rows, self.left, (0, last), self.gram, kept);
        }
        self.decompose(kept)
    }

    /// The eigenvectors to be kept of the Gram matrix of `size` columns.
    fn decompose(&mut self, size: usize) -> Result<(), Error> {
        let kept = self.kept();
        let vectors = &mut self.vectors[..kept * size];
        let sigma = &mut self.sigma[..size];
        self.converged &= gram_svd(self.kernel, self.gram, size, vectors, sigma, self.strip)?;
        self.found = self.sigma[..kept].iter().take_while(|&&sigma| sigma > 0.0).count();
        Ok(())
    }

    pub fn finish(self, outputs: &mut Outputs<'_>) -> Result<Report, Error> {
        if !self.finished {
            return Err(Error::OutOfOrder);
        }
        outputs.check(self.shape)?;
        let cols = self.shape.cols;
        let unscale = 1.0 / self.scale.unwrap_or(1.0);
        let known = self.sigma.iter().take(self.found);
        let largest =
            known.fold(0.0, |largest, &sigma| f64::max(largest, f64::from(sigma) * f64::from(unscale)));
        outputs.check_range(largest)?;
        let kept = if self.delta.max_abs == 0.0 {
            outputs.fill_zero();
            0.0
        } else if self.reads == 2 {
            let space = Space {
                right: &self.right[..self.kept() * cols],
                left: self.left,
                vectors: self.vectors,
                size: self.kept(),
                found: self.found,
                coefficients: self.gram,
            };
            outputs.write::<W>(self.kernel, self.shape, space, unscale)
        } else {
            outputs.write_pair::<W>(self.shape, outputs.rank, self.left, self.right, f64::from(unscale))
        };
        outputs.fill_rest(&self.sigma[..self.found], f64::from(unscale));
        let (reads, converged) = (self.reads, self.converged);
        Ok(Report { rank: outputs.rank, delta: self.delta, kept, reads, converged, sweeps: 0 })
    }
}

impl Whole for Stream<'_> {
    fn row_count(&self) -> usize {
        self.shape.rows
    }
    fn push_rows(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        self.push(base, tuned)
    }
}

impl<'p> From<&'p mut Stream<'_>> for Part<'p> {
    fn from(state: &'p mut Stream<'_>) -> Self {
        Part::from(state as &mut (dyn Whole + 'p))
    }
}
