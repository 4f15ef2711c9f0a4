//! Multi-read mode: block Lanczos on G = ΔᵀΔ with a kept basis Q and kept products Y = Δ·Q.
//!
//! The first read adds rows up with random signs to the block that the others start from (`begin.rs`). Each of
//! these multiplies the newest block Qⱼ from both sides: Yⱼ = Δ·Qⱼ is kept, Zⱼ = Δᵀ·Yⱼ made orthonormal to
//! all of Q is the next block. The Gram matrix YᵀY gives the energy that the space captures so far; its
//! eigenvectors give the best rank-r approximation within the space (Musco and Musco 2015).
//!
//! Each half of a read is one step of the Krylov recurrence. What the second half of the last one is worth without
//! another read tells `predict.rs`: one more block of Q, and its product as far as the space of Y knows it.

mod begin;

use super::{
    Report,
    factors::{Outputs, Space},
    gram::{self, Gram},
    outlook::{Captured, History},
    pass::{BlockPart, Progress, Work, deal},
    plan::{MAX_PARTS, Plan, packed_scratch, shared_scratch, strip_scratch},
    strip::{Strip, is_plain, pack, packed_len, strip_len, unpack},
    watch::Watch,
};
use crate::{
    Delta, Error, Goal, Kernel, Rows, Shape, Spectrum,
    orthonormal::orthonormalize,
    panels,
    random::uniform,
    scratch::{Buffer, Scratch},
};

/// A block of which less than this is new brings only rounding errors.
const NOTHING_NEW: f32 = 2e-5;

/// The share of what is kept to which a sum of squares in f32 tells whether anything is missing.
const ROUNDING: f64 = 1e-5;

/// Blocks that Δᵀ·Δ·Qⱼ has a part of, before the next one: Qⱼ and the one before.
const RECURRENCE: usize = 2;

/// An estimate of the energy in a space of n dimensions takes as long as this many flop of a read per n³: measured with two
/// threads, of which one estimates.
const ESTIMATE: u64 = 20;

/// Blocks from one estimate to the next from which on they wait as long as it takes, as far as the outlook knows: no more
/// reads than cost what an estimate does.
const LARGE: usize = 3;

/// Block width for a rank.
pub const fn default_width(rank: usize) -> usize {
    if rank >= 24 { 16 } else { 8 }
}

/// Blocks of the basis that a rank takes at most.
pub const fn depth(rank: usize, width: usize) -> usize {
    (3 * rank + 48).div_ceil(width)
}

pub fn scratch(plan: &Plan) -> Scratch {
    let Shape { rows, cols } = plan.shape;
    let panels = plan.depth.saturating_add(1);
    let panel = |rows: usize| Scratch::matrix(rows, plan.width);
    Scratch::ALIGNED
        .and(panel(rows).and(panel(cols)).times(panels))
        .and(packed_scratch(cols, plan.width).times(plan.parts + usize::from(!is_plain(plan.width))))
        .and(strips(plan))
        .and(gram::scratch(panels, plan.width, plan.rank))
        .and(Scratch::matrix(panels, plan.width))
}

/// The strips of the parts; between two passes, what the decomposition works with.
fn strips(plan: &Plan) -> Scratch {
    let strips = strip_scratch(plan.shape.cols).times(plan.parts);
    shared_scratch(strips, Scratch::matrix(plan.depth.saturating_add(1), plan.width))
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
    depth: usize,
    parts: usize,
    /// Basis: panels of cols × W; the block in work, or the one that would be next, is the one behind those that the
    /// Gram matrix knows.
    q: &'s mut [f32],
    /// Products: panels of rows × W, at the end one more that is predicted.
    y: &'s mut [f32],
    /// The block in work, packed, where that is not the block as it is.
    x: &'s mut [f32],
    /// One packed panel of cols × W per part.
    z: &'s mut [f32],
    strips: &'s mut [f32],
    gram: Gram<'s, W>,
    /// The singular values of the estimate before.
    earlier: &'s mut [f32],
    progress: [Progress; MAX_PARTS],
    /// Blocks from one estimate of the energy to the next, at least.
    stride: usize,
    /// Blocks at the last estimate, and at the next one.
    estimated: usize,
    due: usize,
    /// One row in so many is added up to the first block in this pass; `None` once there is one.
    adding: Option<usize>,
    /// Of all rows, once they have been measured.
    delta: Option<Delta>,
    scale: Option<f32>,
    channels: Option<&'s [f32]>,
    reads: u32,
    history: History,
    /// Known at the end.
    converged: Option<bool>,
    failed: bool,
}

impl<'s, const W: usize> Krylov<'s, W> {
    pub fn new(plan: &Plan, channels: Option<&'s [f32]>, scratch: &'s mut [f32]) -> Self {
        let mut scratch = Buffer(scratch);
        scratch.align();
        let Shape { rows, cols } = plan.shape;
        let size = (plan.depth + 1) * W;
        // A large basis costs as much to decompose as several reads.
        let stride = (plan.depth / 8).max(1);
        let mut state = Self {
            kernel: plan.kernel,
            shape: plan.shape,
            rank: plan.rank,
            goal: plan.goal,
            tolerance: plan.tolerance,
            depth: plan.depth,
            parts: plan.parts,
            x: scratch.take(if is_plain(W) { 0 } else { packed_len(cols, W) }),
            z: scratch.take(plan.parts * packed_len(cols, W)),
            strips: scratch.take(strips(plan).count().unwrap_or(0)),
            q: scratch.take(size * cols),
            y: scratch.take(size * rows),
            gram: Gram::new(plan.kernel, plan.depth + 1, plan.rank, &mut scratch),
            earlier: scratch.take(size),
            progress: [Progress::default(); MAX_PARTS],
            stride,
            estimated: 0,
            due: stride,
            adding: Some(begin::one_in(plan)),
            delta: None,
            scale: None,
            channels,
            reads: 0,
            history: History::new(),
            converged: None,
            failed: false,
        };
        state.earlier.fill(0.0);
        if rows == 0 || cols == 0 {
            (state.delta, state.converged) = (Some(Delta::default()), Some(true));
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

    pub fn delta(&self) -> Option<Delta> {
        self.delta
    }

    /// Packs the block that the next pass multiplies.
    fn prepare_pass(&mut self) {
        self.progress = [Progress::default(); MAX_PARTS];
        let (cols, blocks) = (self.shape.cols, self.gram.blocks());
        if !is_plain(W) {
            pack::<W>(&self.q[blocks * cols * W..][..cols * W], self.x);
        }
    }

    pub fn parts(&mut self) -> impl Iterator<Item = BlockPart<'_, W>> {
        let Shape { rows, cols } = self.shape;
        let height = rows.div_ceil(self.parts).max(1);
        let wanted = if self.wants_pass() { self.parts } else { 0 };
        let (kernel, scale) = (self.kernel, self.scale);
        let work = self.adding.map_or(Work::Multiply { measure: self.delta.is_none() }, Work::AddUp);
        let channels = self.channels;
        let newest = self.gram.blocks() * cols * W;
        let x = if is_plain(W) { &self.q[newest..][..cols * W] } else { &*self.x };
        let y = self.y[self.gram.blocks() * rows * W..][..rows * W].chunks_mut(height * W);
        let z = self.z.chunks_mut((packed_len(cols, W)).max(1));
        let strips = self.strips.chunks_mut(strip_len(cols).unwrap_or(0).max(1));
        let outputs = y.zip(z).zip(strips).zip(&mut self.progress);
        outputs.take(wanted).enumerate().map(move |(i, (((y, z), buffer), progress))| {
            let start = i * height;
            let strip = Strip::new(kernel, cols, scale, channels, buffer);
            BlockPart { work, x, rows: start..(start + height).min(rows), y, z, strip, progress }
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
        if let Some(one_in) = self.adding {
            return self.end_first_pass(one_in);
        }
        if self.delta.is_some() || self.take_measurements()? {
            self.sum_parts();
            self.decide().inspect_err(|_| self.failed = true)?;
        }
        Ok(())
    }

    /// Adds Z up, of the parts that have rows: the first one always has.
    fn sum_parts(&mut self) {
        let (total, parts) = self.z.split_at_mut(packed_len(self.shape.cols, W));
        let parts = parts.chunks_exact(total.len()).zip(&self.progress[1..]);
        for (part, _) in parts.filter(|(_, progress)| progress.done > 0) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    }

    /// Ends, or sets up the next pass.
    fn decide(&mut self) -> Result<(), Error> {
        let (cols, blocks) = (self.shape.cols, self.gram.blocks() + 1);
        let (basis, free) = self.q.split_at_mut(blocks * cols * W);
        let next = &mut free[..cols * W];
        let z = if is_plain(W) {
            &self.z[..cols * W]
        } else {
            unpack::<W>(self.z, &mut self.strips[..cols * W]);
            &self.strips[..cols * W]
        };
        next.copy_from_slice(z);
        let mut new = orthonormalize::<W>(self.kernel, cols, basis, RECURRENCE, next);
        if new < NOTHING_NEW {
            // The space is invariant, but a singular value of higher multiplicity than the block is wide
            // may lie outside: only fresh directions can find it.
            let offset = blocks * cols * W;
            next.iter_mut().enumerate().for_each(|(i, x)| *x = uniform((offset + i) as u64));
            new = orthonormalize::<W>(self.kernel, cols, basis, blocks, next);
            self.history.suspend();
        }
        let r = panels::cross::<W>(self.kernel, next, z);
        self.gram.extend(self.shape.rows, self.y, &r);
        let (exhausted, full) = (new < NOTHING_NEW, blocks == self.depth);
        let enough = !exhausted && (full || blocks >= self.due) && self.estimate()?;
        if !(exhausted || full || enough) {
            self.prepare_pass();
            return Ok(());
        }
        let agrees = self.gram.materialize(self.shape.rows, self.y, self.strips);
        if !(exhausted || full || agrees) {
            // What was predicted is not so: the estimate was made of it.
            self.history.doubt();
            self.prepare_pass();
            return Ok(());
        }
        self.conclude(exhausted || enough && agrees)
    }

    /// What a read multiplies.
    fn read_flop(&self) -> u64 {
        (4 * W as u64).saturating_mul(self.shape.rows as u64).saturating_mul(self.shape.cols as u64)
    }

    /// Whether the energy captured so far is enough, from how its gains shrink from block to block.
    fn estimate(&mut self) -> Result<bool, Error> {
        let blocks = self.gram.blocks();
        self.due = blocks + self.stride;
        if self.goal.is_fixed() && blocks * W < self.rank {
            return Ok(false);
        }
        self.gram.decompose(self.rank, self.strips)?;
        let size = self.gram.size();
        let captured = self.spectrum(size).kept(size);
        let leading = self.spectrum(self.rank.min(size));
        let watch = Watch::new(self.goal, &leading, captured, self.rank, self.tolerance);
        let earlier = Spectrum { singular_values: self.earlier, ..leading };
        let mut history = self.history;
        let missing = (leading.sum_squares - captured).max(0.0);
        let narrow = self.shape.rows.min(self.shape.cols);
        let excess = watch.excess(|rank| {
            let kept = leading.kept(rank);
            let outlook = history.look(Captured {
                kept,
                half: self.gram.last_step(rank),
                earlier: earlier.kept(rank),
                missing,
                reads: blocks - self.estimated,
            });
            // Where all of a space is soon read, gains need not be trusted.
            if narrow <= rank + 2 * W { missing / kept } else { outlook }
        });
        self.history = history;
        self.estimated = blocks;
        if self.stride >= LARGE {
            let spare = ESTIMATE * (size as u64).pow(3) / self.read_flop().max(1);
            self.due += (spare as usize).min((history.reads_to(excess) * 3 / 4).saturating_sub(self.stride));
        }
        self.earlier[..size].copy_from_slice(self.gram.sigma());
        Ok(excess <= 1.0)
    }

    /// The leading `count` singular values of the space, as scaled, and the norm of all.
    fn spectrum(&self, count: usize) -> Spectrum<'_> {
        let scale = f64::from(self.scale.unwrap_or(1.0));
        Spectrum {
            singular_values: &self.gram.sigma()[..count],
            sum_squares: self.delta.map_or(0.0, |delta| delta.sum_squares) * scale * scale,
            shape: self.shape,
        }
    }

    /// Finds the directions. A space that captures all there is has converged in any case.
    fn conclude(&mut self, converged: bool) -> Result<(), Error> {
        self.gram.decompose(self.rank, self.strips)?;
        let size = self.gram.size();
        let leading = self.spectrum(self.rank.min(size));
        let missing = leading.sum_squares - self.spectrum(size).kept(size);
        let whole = missing <= self.tolerance.max(ROUNDING) * leading.kept(self.rank);
        self.rank = self.goal.rank(&leading, self.rank);
        self.converged = Some((converged || whole) && self.gram.converged());
        Ok(())
    }

    pub fn finish(self, outputs: &mut Outputs<'_>) -> Result<Report, Error> {
        let (converged, delta) = self.converged.zip(self.delta).ok_or(Error::OutOfOrder)?;
        outputs.check(self.shape)?;
        let (size, found) = (self.gram.size(), self.gram.found());
        let beyond = self.gram.beyond(outputs.rank);
        let (vectors, coefficients, sigma) = self.gram.into_parts();
        let space = Space {
            right: &self.q[..size * self.shape.cols],
            left: &self.y[..size * self.shape.rows],
            vectors,
            size,
            found,
            coefficients,
        };
        let unscale = 1.0 / self.scale.unwrap_or(1.0);
        let kept = if found == 0 {
            outputs.fill_zero();
            0.0
        } else {
            let kept = outputs.write::<W>(self.kernel, self.shape, space, unscale);
            kept + beyond * f64::from(unscale) * f64::from(unscale)
        };
        outputs.fill_rest(sigma, f64::from(unscale));
        Ok(Report { rank: outputs.rank, delta, kept, reads: self.reads, converged, sweeps: 0 })
    }
}
