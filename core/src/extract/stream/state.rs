//! The state of a stream-once extraction, and its scratch.

use crate::{
    Delta, Goal, Kernel, Shape,
    extract::{
        packed::{packed_len, packed_scratch},
        plan::Plan,
        strip::{strip_or_svd_scratch, strip_scratch},
    },
    linalg::panels::PANEL_ROWS,
    linalg::scratch::{Buffer, Scratch},
};

/// Width of the panels.
pub const W: usize = 8;

/// The state of a stream-once extraction.
#[derive(Debug)]
pub struct Stream<'s> {
    pub(super) kernel: Kernel,
    pub(super) shape: Shape,
    /// The largest rank, then the one chosen.
    pub(super) rank: usize,
    pub(super) goal: Goal,
    pub(super) channels: Option<&'s [f32]>,
    pub(super) reads_allowed: u32,
    /// Panels that are kept; as many again take new rows.
    pub(super) depth: usize,
    /// [kept; new] as panels of cols × W; after the first read the kept ones are V, and the same packed
    /// follows.
    pub(super) right: &'s mut [f32],
    /// Panels of rows × W: the left factor, or Y = Δ·V in the second read.
    pub(super) left: &'s mut [f32],
    /// The rows in work; between them, what the decomposition works with.
    pub(super) strip: &'s mut [f32],
    pub(super) gram: &'s mut [f32],
    pub(super) vectors: &'s mut [f32],
    pub(super) sigma: &'s mut [f32],
    pub(super) temp: &'s mut [f32],
    /// New rows that wait for a merge.
    pub(super) waiting: usize,
    pub(super) done: usize,
    pub(super) delta: Delta,
    pub(super) scale: Option<f32>,
    pub(super) reads: u32,
    /// Whether every eigenvalue was found.
    pub(super) converged: bool,
    pub(super) found: usize,
    pub(super) finished: bool,
    pub(super) failed: bool,
}

/// The strip; between rows, what the decomposition works with.
fn strip(plan: &Plan) -> Scratch {
    strip_or_svd_scratch(strip_scratch(plan.shape.cols), Scratch::matrix(plan.depth, 2 * W))
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
    pub(super) fn kept(&self) -> usize {
        self.depth * W
    }
}
