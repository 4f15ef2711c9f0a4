//! Multi-read mode: block Lanczos on G = ΔᵀΔ with a kept basis Q and kept products Y = Δ·Q.
//!
//! The first read forms a random ±1 sketch of the rows, the first panel of the basis (`begin.rs`). Each further read
//! multiplies the newest panel Qⱼ from both sides: Yⱼ = Δ·Qⱼ is kept, Zⱼ = Δᵀ·Yⱼ made orthonormal to
//! all of Q is the next panel. The Gram matrix YᵀY gives the energy that the space captures so far; its
//! eigenvectors give the best rank-r approximation within the space (Musco and Musco 2015).
//!
//! Each half of a read is one step of the Krylov recurrence. `predict.rs` adds the second half of the last one without
//! another read: one more panel of Q, and the projection of its product onto the space of Y.

mod begin;
mod decide;
mod state;

use super::{
    factors::{Outputs, Space},
    pass::deal,
    report::Report,
};
use crate::{Delta, Error, Rows};
pub use state::{Krylov, default_width, depth, scratch};

impl<const W: usize> Krylov<'_, W> {
    pub fn reads(&self) -> u32 {
        self.reads
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn delta(&self) -> Option<Delta> {
        self.delta
    }

    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
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

    pub fn finish(self, outputs: &mut Outputs<'_>) -> Result<Report, Error> {
        let (converged, delta) = self.converged.zip(self.delta).ok_or(Error::OutOfOrder)?;
        outputs.check(self.shape)?;
        let (size, found) = (self.gram.size(), self.gram.found());
        let beyond = self.gram.beyond(outputs.rank);
        let (vectors, coefficients, sigma) = self.gram.into_results();
        let space = Space {
            right: &self.q[..size * self.shape.cols],
            left: &self.y[..size * self.shape.rows],
            vectors,
            size,
            found,
            coefficients,
        };
        let unscale = 1.0 / self.scale.unwrap_or(1.0);
        let largest = sigma.first().map_or(0.0, |&sigma| f64::from(sigma) * f64::from(unscale));
        outputs.check_range(largest)?;
        let kept = if found == 0 {
            outputs.fill_zero();
            0.0
        } else {
            let kept = outputs.write::<W>(self.kernel, self.shape, space, unscale)?;
            kept + beyond * f64::from(unscale) * f64::from(unscale)
        };
        outputs.fill_rest(sigma, f64::from(unscale));
        Ok(Report { rank: outputs.rank, delta, kept, reads: self.reads, converged, sweeps: 0 })
    }
}
