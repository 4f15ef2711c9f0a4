//! When to stop reading: extrapolates the gains of captured energy.
//!
//! A read is two steps of the Krylov recurrence, and what is missing shrinks by about the same ratio ρ with each step.
//! The last step is the panel that is predicted, so its gain h is known apart, from above. With s reads from one estimate
//! to the next, the steps before gained h·(ρ⁻¹ + … + ρ¹⁻²ˢ), which tells ρ; h·ρ/(1 − ρ) is left. The gains of two
//! estimates tell the same of whole reads, later but without half a read's ups and downs. The larger of both counts.

/// The ratio of two gains lies between these: early gains shrink faster than later ones, and one that hardly shrinks
/// at all says nothing about the end. Chosen on the modules of a real pair and on generated matrices; `docs/design/krylov.md`
/// has the worst miss.
const RATIO: (f64, f64) = (0.2, 0.95);

/// The same of two steps.
const STEP_RATIO: (f64, f64) = (0.53, 0.97);

/// The ratio before two gains are known.
const FIRST_RATIO: f64 = 0.5;

/// Halvings of the range of the ratio.
const HALVINGS: u32 = 12;

/// No outlook goes further than this.
const MOST_AHEAD: usize = 16;

/// The captured energy from estimate to estimate.
#[derive(Debug, Clone, Copy)]
pub struct History {
    gain: f64,
    /// Reads that brought it.
    reads: usize,
    /// What a step is expected to shrink gains by.
    step: f64,
    /// Estimates whose gain says nothing yet.
    suspended: u32,
}

/// What the space captures.
#[derive(Debug, Clone, Copy)]
pub struct Captured {
    /// Energy of the leading directions.
    pub kept: f64,
    /// How much of it the last step has brought.
    pub half: f64,
    /// Energy of as many directions at the estimate before.
    pub earlier: f64,
    /// Energy of all there is that the space leaves out: no rank can gain more.
    pub missing: f64,
    /// Reads between the two estimates.
    pub reads: usize,
}

impl History {
    /// Nothing captured. The first estimate has no gain.
    pub const fn new() -> Self {
        Self { gain: 0.0, reads: 0, step: STEP_RATIO.0, suspended: 1 }
    }

    /// A panel of random directions follows: it gains little itself, the next one shows what it found.
    pub fn suspend(&mut self) {
        self.suspended = 2;
    }

    /// What was captured, at the last estimate, was less than it seemed: the next gain says nothing.
    pub fn doubt(&mut self) {
        self.suspended = self.suspended.max(1);
    }

    /// Reads until what is left is `excess` times less, as far as the last step tells.
    pub fn reads_to(&self, excess: f64) -> usize {
        let (mut left, mut reads) = (excess, 0);
        while left > 1.0 && reads < MOST_AHEAD {
            left *= self.step * self.step;
            reads += 1;
        }
        reads
    }

    /// What all further reads are expected to add, as a share of what is kept.
    pub fn look(&mut self, captured: Captured) -> f64 {
        let Captured { kept, half, earlier, missing, reads } = captured;
        let bound = missing / kept;
        if self.suspended > 0 {
            self.suspended -= 1;
            self.gain = 0.0;
            return bound;
        }
        let gain = (kept - earlier).max(0.0);
        let half = half.clamp(0.0, gain);
        let (mut ratio, mut most) = (FIRST_RATIO, 1.0);
        if self.gain > 0.0 {
            ratio = read_ratio(gain / self.gain, self.reads, reads).clamp(RATIO.0, RATIO.1);
            most = ratio;
        }
        let step = step_ratio(2 * reads - 1, |sum, all| half * sum > gain - half && all < most);
        (self.gain, self.reads, self.step) = (gain, reads, step);
        let left = |gain: f64, ratio: f64| gain * ratio / (1.0 - ratio);
        (left(gain, ratio).max(left(half, step)) / kept).min(bound)
    }
}

/// The ratio of the gains of the next `reads` reads and of the last ones, where those of the last `reads` reads and of the
/// `before` ones before are of the given ratio.
fn read_ratio(ratio: f64, before: usize, reads: usize) -> f64 {
    if before == reads {
        return ratio;
    }
    let powers = |q: f64, count: usize| (0..count).fold((0.0, 1.0), |(sum, all), _| (sum + all, all * q));
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..2 * HALVINGS {
        let middle = 0.5 * (low + high);
        let ((earlier, all), (later, _)) = (powers(middle, before), powers(middle, reads));
        if all * later < ratio * earlier {
            low = middle;
        } else {
            high = middle;
        }
    }
    powers(low, reads).1
}

/// ρ, where `too_small` tells of ρ⁻¹ + … + ρ⁻ᵏ, k being `steps`, and of ρᵏ⁺¹ whether ρ must be larger.
fn step_ratio(steps: usize, too_small: impl Fn(f64, f64) -> bool) -> f64 {
    let (mut low, mut high) = STEP_RATIO;
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        let (sum, all) = (0..steps).fold((0.0, middle), |(sum, all), _| ((sum + 1.0) / middle, all * middle));
        if too_small(sum, all) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
