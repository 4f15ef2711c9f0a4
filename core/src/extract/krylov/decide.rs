//! After a read: whether the basis grows by another panel, or suffices.

use super::state::Krylov;
use crate::{
    Error, Spectrum,
    extract::{
        outlook::Captured,
        packed::{is_plain, unpack},
        watch::Watch,
    },
    linalg::{orthonormal::orthonormalize, panels, random::uniform},
};

/// A panel of which less than this is new brings only rounding errors.
const NOTHING_NEW: f32 = 2e-5;

/// The share of what is kept to which a sum of squares in f32 tells whether anything is missing.
const ROUNDING: f64 = 1e-5;

/// Panels of the basis that Δᵀ·Δ·Qⱼ has components in, besides Qⱼ₊₁: Qⱼ and Qⱼ₋₁.
const RECURRENCE: usize = 2;

/// An estimate of the energy in a space of n dimensions takes as long as n³ times this many floating-point operations of a
/// read do. Measured with two threads, of which one estimates.
const ESTIMATE: u64 = 20;

/// From this many panels between two estimates on, an estimate may come later still: by as many reads as cost as much as it,
/// and by no more than the outlook expects to be needed.
const LARGE: usize = 3;

impl<const W: usize> Krylov<'_, W> {
    /// Ends, or sets up the next pass.
    pub(super) fn decide(&mut self) -> Result<(), Error> {
        let (cols, panels) = (self.shape.cols, self.gram.known() + 1);
        let (basis, free) = self.q.split_at_mut(panels * cols * W);
        let next = &mut free[..cols * W];
        let z = if is_plain(W) {
            &self.z[..cols * W]
        } else {
            unpack::<W>(self.z, &mut self.strips[..cols * W]);
            &self.strips[..cols * W]
        };
        next.copy_from_slice(z);
        let mut new = orthonormalize::<W>(self.kernel, cols, basis, RECURRENCE, next)?;
        if new < NOTHING_NEW {
            // The space is invariant, but a singular value of higher multiplicity than the panel is wide
            // may lie outside: only fresh directions can find it.
            let offset = panels * cols * W;
            next.iter_mut().enumerate().for_each(|(i, x)| *x = uniform((offset + i) as u64));
            new = orthonormalize::<W>(self.kernel, cols, basis, panels, next)?;
            self.history.suspend();
            self.restarted = true;
        }
        // What an invariant space leaves out of a product is little, but not beside a small singular value, by which a
        // prediction would divide it: none is made.
        let r = if self.restarted { [[0.0; W]; W] } else { panels::cross::<W>(self.kernel, next, z)? };
        self.gram.extend(self.shape.rows, self.y, &r)?;
        let (exhausted, full) = (new < NOTHING_NEW, panels == self.depth);
        let enough = !exhausted && (full || panels >= self.due) && self.estimate()?;
        if !(exhausted || full || enough) {
            self.prepare_pass();
            return Ok(());
        }
        let agrees = self.gram.materialize(self.shape.rows, self.y, self.strips)?;
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

    /// Whether the energy captured so far is enough, from how its gains shrink from panel to panel.
    fn estimate(&mut self) -> Result<bool, Error> {
        let panels = self.gram.known();
        self.due = panels + self.stride;
        if self.goal.is_fixed() && panels * W < self.rank {
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
                reads: panels - self.estimated,
            });
            // Where all of a space is soon read, gains need not be trusted.
            if narrow <= rank + 2 * W { missing / kept } else { outlook }
        });
        self.history = history;
        self.estimated = panels;
        if self.stride >= LARGE {
            let spare = ESTIMATE * (size as u64).pow(3) / self.read_flop().max(1);
            self.due += (spare as usize).min((history.reads_to(excess) * 3 / 4).saturating_sub(self.stride));
        }
        self.earlier[..size].copy_from_slice(self.gram.sigma());
        Ok(excess <= 1.0)
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
}
