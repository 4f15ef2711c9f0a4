//! Stream-once mode: merge-and-truncate, for rows that are seen once (flash, download, sensor) or twice.
//!
//! The state is a rank-k factor of the rows seen so far, kept as columns σᵢ·vᵢ. New rows join as further
//! columns; when their room is full, the Gram matrix of all of them gives the rotation that brings the k
//! largest directions to the front, and the rest is dropped (Iwen and Ong 2016). With one read the left
//! factor is rotated along. With two, the second read computes Y = Δ·V, which is the best B for V.

mod rows;
mod state;

use super::{
    factors::{Outputs, Space},
    packed::{pack, packed_len},
    report::Report,
};
use crate::{Error, Spectrum, linalg::orthonormal::orthonormalize, linalg::panels};
pub use state::Stream;
use state::W;

impl Stream<'_> {
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
            orthonormalize::<W>(self.kernel, self.shape.cols, basis, usize::MAX, &mut rest[..panel])?;
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
            panels::extend_gram::<W>(self.kernel, self.shape.rows, self.left, (0, last), self.gram, kept)?;
        }
        self.decompose(kept)
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
            outputs.write::<W>(self.kernel, self.shape, space, unscale)?
        } else {
            outputs.write_pair::<W>(self.shape, outputs.rank, self.left, self.right, f64::from(unscale))
        };
        outputs.fill_rest(&self.sigma[..self.found], f64::from(unscale));
        let (reads, converged) = (self.reads, self.converged);
        Ok(Report { rank: outputs.rank, delta: self.delta, kept, reads, converged, sweeps: 0 })
    }
}
