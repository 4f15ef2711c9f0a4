//! When to stop reading: what the gains of captured energy so far say about the gains to come.

/// The ratio of two gains lies between these: early gains shrink faster than later ones, and one that hardly
/// shrinks at all says nothing about the end.
const RATIO: (f64, f64) = (0.15, 0.95);

/// The ratio before two gains are known.
const FIRST_RATIO: f64 = 0.5;

/// The captured energy from estimate to estimate.
#[derive(Debug, Clone, Copy)]
pub struct History {
    gain: f64,
    ratio: f64,
    /// Estimates whose gain says nothing yet.
    suspended: u32,
}

impl History {
    /// Nothing captured. The first estimate has no gain.
    pub const fn new() -> Self {
        Self { gain: 0.0, ratio: FIRST_RATIO, suspended: 1 }
    }

    /// A block of random directions follows: it gains little itself, the next one shows what it found.
    pub fn suspend(&mut self) {
        self.suspended = 2;
    }

    /// Takes the energy `kept` out of `total`, after the `earlier` one of the same rank, and tells what all further
    /// reads are expected to add, as a share of it. Gains shrink like a geometric series: after a gain g that is ρ
    /// times the one before, g·ρ/(1 − ρ) is left; ρ is the mean of the last two, since a gain that is small by
    /// chance is no sign of an end. No rank keeps more than everything.
    pub fn look(&mut self, kept: f64, earlier: f64, total: f64) -> f64 {
        let (gain, before, silent) = (kept - earlier, self.gain, self.suspended > 0);
        self.suspended = self.suspended.saturating_sub(1);
        self.gain = if silent { 0.0 } else { gain };
        let bound = (total - kept).max(0.0) / kept;
        let newest = if before > 0.0 { (gain / before).clamp(RATIO.0, RATIO.1) } else { FIRST_RATIO };
        let ratio = libm::sqrt(self.ratio * newest);
        self.ratio = newest;
        let remaining = if silent { f64::INFINITY } else { gain.max(0.0) * ratio / (1.0 - ratio) / kept };
        remaining.min(bound)
    }
}
