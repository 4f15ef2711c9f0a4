//! Multi-read mode: block Lanczos on G = ΔᵀΔ with a kept basis Q and kept products Y = Δ·Q.
//!
//! A read multiplies the newest block Qⱼ from both sides: Yⱼ = Δ·Qⱼ is kept, Zⱼ = Δᵀ·Yⱼ made orthonormal to
//! all of Q is the next block. The Gram matrix YᵀY gives the energy that the space captures so far; its
//! eigenvectors give the best rank-r approximation within the space (Musco and Musco 2015).
//!
//! Each half of a read is one step of the Krylov recurrence. The last read leaves the second half out, and
//! where it turns out not to be the last, one read makes up for it from the kept Y.

use super::{
    Report,
    factors::{Outputs, Space},
    outlook::History,
    pass::{BlockPart, Progress, Strip, Work, deal, pack, packed_len, strip_len, unit_scale, unpack},
    plan::{MAX_PARTS, Plan, packed_scratch, strip_scratch},
    watch::{Verdict, Watch},
};
use crate::{
    Delta, Error, Goal, Kernel, Rows, Shape, Spectrum,
    jacobi::Sweeps,
    orthonormal::orthonormalize,
    panels,
    random::uniform,
    ritz::{refine, ritz},
    scratch::{Buffer, Scratch},
};

/// Largest |Δᵢⱼ| outside this range would overflow or underflow in Δᵀ·Δ: the entries are scaled then.
const SAFE: core::ops::Range<f32> = 1e-6..4e3;

/// Sweeps that estimate the captured energy: eigenvalues are good to the square of the tolerance.
const ESTIMATE: Sweeps = Sweeps { tolerance: 1e-2, most: 6, leading: usize::MAX };

/// Sweeps for the directions that are kept: their cosines enter the energy by their squares.
const FINAL: Sweeps = Sweeps { tolerance: 1e-4, most: 40, leading: usize::MAX };

/// A block of which less than this is new brings only rounding errors.
const NOTHING_NEW: f32 = 2e-5;

/// Block width for a rank.
pub const fn default_width(rank: usize) -> usize {
    if rank >= 24 { 16 } else { 8 }
}

/// Blocks of the basis that a rank takes at most.
pub const fn depth(rank: usize, width: usize) -> usize {
    (3 * rank + 64).div_ceil(width)
}

pub fn scratch(plan: &Plan) -> Scratch {
    let Shape { rows, cols } = plan.shape;
    let size = Scratch::matrix(plan.depth, plan.width);
    let panel = |rows: usize| Scratch::matrix(rows, plan.width);
    Scratch::ALIGNED
        .and(panel(rows).and(panel(cols)).times(plan.depth))
        .and(packed_scratch(cols, plan.width))
        .and(packed_scratch(cols, plan.width).and(strip_scratch(cols, plan.width)).times(plan.parts))
        .and(size.times(2))
        .and(size.count().map_or(Scratch::OVERFLOW, |size| Scratch::matrix(size, size)).times(2))
}

/// The state of a multi-read extraction.
#[derive(Debug)]
pub struct Krylov<'s, const W: usize> {
    kernel: Kernel,
    shape: Shape,
    /// The largest rank, then the one chosen.
    rank: usize,
    goal: Goal,
    tolerance: f64,
    max_reads: u32,
    depth: usize,
    parts: usize,
    /// Basis: panels of cols × W; the block in work is panel `blocks`.
    q: &'s mut [f32],
    /// Products: panels of rows × W.
    y: &'s mut [f32],
    /// The block in work, packed.
    x: &'s mut [f32],
    /// One packed panel of cols × W per part.
    z: &'s mut [f32],
    strips: &'s mut [f32],
    /// YᵀY, symmetric, leading dimension depth·W.
    gram: &'s mut [f32],
    /// Eigenvectors of the Gram matrix, by columns.
    vectors: &'s mut [f32],
    sigma: &'s mut [f32],
    /// The singular values of the estimate before.
    earlier: &'s mut [f32],
    progress: [Progress; MAX_PARTS],
    /// Blocks of which Y is known.
    blocks: usize,
    /// Blocks from one estimate of the energy to the next.
    stride: usize,
    /// The block that will probably be the last.
    last: usize,
    work: Work,
    measured: bool,
    delta: Delta,
    scale: Option<f32>,
    channels: Option<&'s [f32]>,
    reads: u32,
    history: History,
    /// Blocks of which the eigenvectors are known, how many there are, and the sweeps they took.
    decomposed: usize,
    found: usize,
    sweeps: u32,
    /// Known at the end.
    converged: Option<bool>,
    failed: bool,
}

impl<'s, const W: usize> Krylov<'s, W> {
    pub fn new(plan: &Plan, channels: Option<&'s [f32]>, scratch: &'s mut [f32]) -> Self {
        let mut scratch = Buffer(scratch);
        scratch.align();
        let Shape { rows, cols } = plan.shape;
        let size = plan.depth * W;
        let mut state = Self {
            kernel: plan.kernel,
            shape: plan.shape,
            rank: plan.rank,
            goal: plan.goal,
            tolerance: plan.tolerance,
            max_reads: plan.max_reads,
            depth: plan.depth,
            parts: plan.parts,
            x: scratch.take(packed_len(cols, W)),
            z: scratch.take(plan.parts * packed_len(cols, W)),
            strips: scratch.take(plan.parts * strip_len(cols, W).unwrap_or(0)),
            q: scratch.take(size * cols),
            y: scratch.take(size * rows),
            gram: scratch.take(size * size),
            vectors: scratch.take(size * size),
            sigma: scratch.take(size),
            earlier: scratch.take(size),
            progress: [Progress::default(); MAX_PARTS],
            blocks: 0,
            // A large basis costs as much to decompose as several reads.
            stride: (plan.depth / 12).max(1),
            last: plan.depth,
            work: if plan.depth == 1 || plan.max_reads == 1 { Work::Forward } else { Work::Both },
            measured: false,
            delta: Delta::default(),
            scale: None,
            channels,
            reads: 0,
            history: History::new(),
            decomposed: 0,
            found: 0,
            sweeps: 0,
            converged: None,
            failed: false,
        };
        state.earlier.fill(0.0);
        let start = &mut state.q[..cols * W];
        start.iter_mut().enumerate().for_each(|(i, x)| *x = uniform(i as u64));
        orthonormalize::<W>(state.kernel, cols, &[], start);
        state.strips.fill(0.0);
        state.prepare_pass();
        if rows == 0 || cols == 0 {
            state.converged = Some(true);
        }
        state
    }

    pub fn wants_pass(&self) -> bool {
        self.converged.is_none() && !self.failed
    }

    pub fn reads(&self) -> u32 {
        self.reads
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn delta(&self) -> Delta {
        self.delta
    }

    /// Packs the block that the next pass multiplies, and clears what it sums into.
    fn prepare_pass(&mut self) {
        self.progress = [Progress::default(); MAX_PARTS];
        let Shape { rows, cols } = self.shape;
        if self.work != Work::Backward {
            pack::<W>(&self.q[self.blocks * cols * W..][..cols * W], self.x);
            self.y[self.blocks * rows * W..][..rows * W].fill(0.0);
        }
        self.z.fill(0.0);
    }

    /// Panel of the basis that is in work.
    fn current(&self) -> usize {
        if self.work == Work::Backward { self.blocks - 1 } else { self.blocks }
    }

    pub fn parts(&mut self) -> impl Iterator<Item = BlockPart<'_, W>> {
        let Shape { rows, cols } = self.shape;
        let current = self.current();
        let height = rows.div_ceil(self.parts).max(1);
        let wanted = if self.wants_pass() { self.parts } else { 0 };
        let (kernel, scale, work, measure) = (self.kernel, self.scale, self.work, !self.measured);
        let channels = self.channels;
        let x = &*self.x;
        let y = self.y[current * rows * W..][..rows * W].chunks_mut(height * W);
        let z = self.z.chunks_mut((packed_len(cols, W)).max(1));
        let strips = self.strips.chunks_mut(strip_len(cols, W).unwrap_or(0).max(1));
        let outputs = y.zip(z).zip(strips).zip(&mut self.progress);
        outputs.take(wanted).enumerate().map(move |(i, (((y, z), buffer), progress))| {
            let start = i * height;
            let strip = Strip::new(kernel, cols, scale, channels, buffer);
            BlockPart { work, measure, x, rows: start..(start + height).min(rows), y, z, strip, progress }
        })
    }

    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        if !self.wants_pass() {
            return Err(Error::OutOfOrder);
        }
        let cols = self.shape.cols;
        deal(self.parts(), base, tuned, cols)
    }

    pub fn end_pass(&mut self) -> Result<(), Error> {
        if !self.wants_pass() {
            return Err(Error::OutOfOrder);
        }
        let pushed = self.progress.iter().map(|part| part.done).sum();
        if pushed < self.shape.rows {
            return Err(Error::MissingRows { pushed });
        }
        self.reads += 1;
        if !self.measured && !self.take_measurements()? {
            return Ok(());
        }
        if self.work != Work::Forward {
            self.sum_parts();
        }
        if self.work != Work::Backward {
            self.blocks += 1;
            let (rows, ld) = (self.shape.rows, self.depth * W);
            panels::extend_gram::<W>(self.kernel, rows, self.y, self.blocks - 1, self.gram, ld);
        }
        self.decide().inspect_err(|_| self.failed = true)
    }

    /// After the first read: refuses what is not finite, ends where nothing differs, and scales what would
    /// leave the range of f32. Says whether the products of this pass can be used.
    fn take_measurements(&mut self) -> Result<bool, Error> {
        self.measured = true;
        self.delta = Delta::default();
        for part in &self.progress {
            self.delta.merge(&part.delta);
        }
        if let Some(row) = self.delta.first_non_finite_row {
            self.failed = true;
            return Err(Error::NonFinite { row });
        }
        if self.delta.max_abs == 0.0 {
            self.converged = Some(true);
            return Ok(false);
        }
        if !SAFE.contains(&self.delta.max_abs) {
            self.scale = Some(unit_scale(self.delta.max_abs));
            self.prepare_pass();
            return Ok(false);
        }
        Ok(true)
    }

    fn sum_parts(&mut self) {
        let (total, parts) = self.z.split_at_mut(packed_len(self.shape.cols, W));
        for part in parts.chunks_exact(total.len()) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    }

    /// Ends, or sets up the next pass.
    fn decide(&mut self) -> Result<(), Error> {
        let reads_left = self.max_reads.saturating_sub(self.reads);
        if self.work != Work::Backward {
            let full = self.blocks == self.depth;
            if full || self.blocks.is_multiple_of(self.stride) {
                let verdict = self.estimate()?;
                if verdict.enough {
                    return self.conclude(true);
                }
                self.last = if verdict.soon { self.blocks + self.stride } else { self.depth };
            }
            if full || reads_left == 0 || (self.work == Work::Forward && reads_left < 2) {
                return self.conclude(self.blocks * W >= self.shape.rows.min(self.shape.cols) + W);
            }
        }
        if self.work == Work::Forward {
            self.work = Work::Backward;
            self.prepare_pass();
            return Ok(());
        }
        let last = self.blocks + 1 == self.last.min(self.depth) || reads_left == 1;
        self.work = if last { Work::Forward } else { Work::Both };
        let cols = self.shape.cols;
        let (basis, free) = self.q.split_at_mut(self.blocks * cols * W);
        let next = &mut free[..cols * W];
        unpack::<W>(self.z, next);
        if orthonormalize::<W>(self.kernel, cols, basis, next) < NOTHING_NEW {
            // The space is invariant, but a singular value of higher multiplicity than the block is wide
            // may lie outside: only fresh directions can find it.
            let offset = self.blocks * cols * W;
            next.iter_mut().enumerate().for_each(|(i, x)| *x = uniform((offset + i) as u64));
            if orthonormalize::<W>(self.kernel, cols, basis, next) < NOTHING_NEW {
                return self.conclude(true);
            }
            self.history.suspend();
        }
        self.prepare_pass();
        Ok(())
    }

    /// The energy captured so far, and how its gains shrink from block to block.
    fn estimate(&mut self) -> Result<Verdict, Error> {
        let size = self.blocks * W;
        if self.goal.is_fixed() && size < self.rank {
            return Ok(Verdict { enough: false, soon: false });
        }
        self.decompose()?;
        let all = self.spectrum(size);
        let leading = self.spectrum(self.rank.min(size));
        let watch = Watch::new(self.goal, &leading, all.kept(size), self.rank, self.tolerance);
        let earlier = Spectrum { singular_values: self.earlier, ..leading };
        let mut history = self.history;
        let verdict =
            watch.verdict(|rank| history.look(leading.kept(rank), earlier.kept(rank), leading.sum_squares));
        self.history = history;
        self.earlier[..size].copy_from_slice(&self.sigma[..size]);
        Ok(verdict)
    }

    /// The leading `count` singular values of the space, as scaled, and the norm of all.
    fn spectrum(&self, count: usize) -> Spectrum<'_> {
        let scale = f64::from(self.scale.unwrap_or(1.0));
        Spectrum {
            singular_values: &self.sigma[..count],
            sum_squares: self.delta.sum_squares * scale * scale,
            shape: self.shape,
        }
    }

    /// Eigenvectors of the Gram matrix, roughly; nothing where they are known.
    fn decompose(&mut self) -> Result<(), Error> {
        let (size, ld) = (self.blocks * W, self.depth * W);
        if self.decomposed != self.blocks {
            let sweeps = Sweeps { leading: self.rank, ..ESTIMATE };
            let svd = ritz(self.kernel, self.gram, ld, size, self.vectors, self.sigma, sweeps)?;
            (self.decomposed, self.found, self.sweeps) = (self.blocks, svd.rank, svd.sweeps);
        }
        Ok(())
    }

    fn conclude(&mut self, converged: bool) -> Result<(), Error> {
        self.decompose()?;
        let (size, found) = (self.blocks * W, self.found);
        let svd = refine(self.kernel, size, found, self.vectors, self.sigma, FINAL)?;
        self.sweeps += svd.sweeps;
        self.rank = self.goal.rank(&self.spectrum(self.rank.min(size)), self.rank);
        self.converged = Some(converged && svd.converged);
        Ok(())
    }

    pub fn finish(self, outputs: &mut Outputs<'_>) -> Result<Report, Error> {
        let converged = self.converged.ok_or(Error::OutOfOrder)?;
        outputs.check(self.shape)?;
        let size = self.blocks * W;
        let space = Space {
            right: &self.q[..size * self.shape.cols],
            left: &self.y[..size * self.shape.rows],
            vectors: self.vectors,
            size,
            found: self.found,
            coefficients: self.gram,
        };
        let unscale = 1.0 / self.scale.unwrap_or(1.0);
        let kept = if self.found == 0 {
            outputs.fill_zero();
            0.0
        } else {
            outputs.write::<W>(self.kernel, self.shape, space, unscale)
        };
        outputs.fill_rest(&self.sigma[..self.found], f64::from(unscale));
        Ok(Report {
            rank: outputs.rank,
            delta: self.delta,
            kept,
            reads: self.reads,
            converged,
            sweeps: self.sweeps,
        })
    }
}
