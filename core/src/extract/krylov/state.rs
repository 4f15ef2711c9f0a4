//! The state of a multi-read extraction, its scratch, and the parts of a pass.

use crate::{
    Delta, Goal, Kernel, Shape, Spectrum,
    extract::{
        gram::{self, Gram},
        outlook::History,
        packed::{is_plain, pack, packed_len, packed_scratch},
        pass::{KrylovPart, Progress, Work},
        plan::{MAX_PARTS, Plan},
        strip::{DecodedStrip, strip_len, strip_or_svd_scratch, strip_scratch},
    },
    linalg::scratch::{Buffer, Scratch},
};

/// Width of a panel for a rank.
pub const fn default_width(rank: usize) -> usize {
    if rank >= 24 { 16 } else { 8 }
}

/// Most panels of the basis for a rank.
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
    strip_or_svd_scratch(strips, Scratch::matrix(plan.depth.saturating_add(1), plan.width))
}

/// Rows that are added up to the first panel of the basis, at least.
const SAMPLE: usize = 512;

/// One row in so many is looked at for the first panel: all of them where these are few, or where another read of all would
/// be one too many.
fn one_in(plan: &Plan) -> usize {
    let spare = (plan.max_reads as usize).checked_sub(plan.depth + 2);
    spare.map_or(1, |_| (plan.shape.rows / SAMPLE).max(1))
}

/// The state of a multi-read extraction.
#[derive(Debug)]
pub struct Krylov<'s, const W: usize> {
    pub(super) kernel: Kernel,
    pub(super) shape: Shape,
    /// The largest rank, then the one chosen.
    pub(super) rank: usize,
    pub(super) goal: Goal,
    pub(super) tolerance: f64,
    pub(super) depth: usize,
    pub(super) parts: usize,
    /// Basis: panels of cols × W. The current (or next) one follows those in the Gram matrix.
    pub(super) q: &'s mut [f32],
    /// Products: panels of rows × W, at the end one more that is predicted.
    pub(super) y: &'s mut [f32],
    /// The panel in work, packed, where that is not the panel as it is.
    pub(super) x: &'s mut [f32],
    /// One packed panel of cols × W per part.
    pub(super) z: &'s mut [f32],
    pub(super) strips: &'s mut [f32],
    pub(super) gram: Gram<'s, W>,
    /// The singular values of the estimate before.
    pub(super) earlier: &'s mut [f32],
    pub(super) progress: [Progress; MAX_PARTS],
    /// Least number of panels from one estimate of the energy to the next.
    pub(super) stride: usize,
    /// Panels at the last estimate, and those at which the next one is due.
    pub(super) estimated: usize,
    pub(super) due: usize,
    /// One row in so many is added up to the first panel in this pass; `None` once there is one.
    pub(super) adding: Option<usize>,
    /// Of all rows, once they have been measured.
    pub(super) delta: Option<Delta>,
    pub(super) scale: Option<f32>,
    pub(super) channels: Option<&'s [f32]>,
    pub(super) reads: u32,
    pub(super) history: History,
    /// Whether the basis was continued with random directions, since the space was invariant.
    pub(super) restarted: bool,
    /// Known at the end.
    pub(super) converged: Option<bool>,
    pub(super) failed: bool,
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
            adding: Some(one_in(plan)),
            delta: None,
            scale: None,
            channels,
            reads: 0,
            history: History::new(),
            restarted: false,
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

    /// Packs the panel that the next pass multiplies.
    pub(super) fn prepare_pass(&mut self) {
        self.progress = [Progress::default(); MAX_PARTS];
        let (cols, known) = (self.shape.cols, self.gram.known());
        if !is_plain(W) {
            pack::<W>(&self.q[known * cols * W..][..cols * W], self.x);
        }
    }

    pub fn parts(&mut self) -> impl Iterator<Item = KrylovPart<'_, W>> {
        let Shape { rows, cols } = self.shape;
        let height = rows.div_ceil(self.parts).max(1);
        let wanted = if self.wants_pass() { self.parts } else { 0 };
        let (kernel, scale) = (self.kernel, self.scale);
        let work = self.adding.map_or(Work::Multiply { measure: self.delta.is_none() }, Work::AddUp);
        let channels = self.channels;
        let newest = self.gram.known() * cols * W;
        let x = if is_plain(W) { &self.q[newest..][..cols * W] } else { &*self.x };
        let y = self.y[self.gram.known() * rows * W..][..rows * W].chunks_mut(height * W);
        let z = self.z.chunks_mut((packed_len(cols, W)).max(1));
        let strips = self.strips.chunks_mut(strip_len(cols).unwrap_or(0).max(1));
        let outputs = y.zip(z).zip(strips).zip(&mut self.progress);
        outputs.take(wanted).enumerate().map(move |(i, (((y, z), buffer), progress))| {
            let start = i * height;
            let strip = DecodedStrip::new(kernel, cols, scale, channels, buffer);
            KrylovPart { work, x, rows: start..(start + height).min(rows), y, z, strip, progress }
        })
    }

    /// Adds Z up, of the parts that have rows: the first one always has.
    pub(super) fn sum_parts(&mut self) {
        let (total, parts) = self.z.split_at_mut(packed_len(self.shape.cols, W));
        let parts = parts.chunks_exact(total.len()).zip(&self.progress[1..]);
        for (part, _) in parts.filter(|(_, progress)| progress.done > 0) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    }

    /// The leading `count` singular values of the space, as scaled, and the norm of all.
    pub(super) fn spectrum(&self, count: usize) -> Spectrum<'_> {
        let scale = f64::from(self.scale.unwrap_or(1.0));
        Spectrum {
            singular_values: &self.gram.sigma()[..count],
            sum_squares: self.delta.map_or(0.0, |delta| delta.sum_squares) * scale * scale,
            shape: self.shape,
        }
    }
}
