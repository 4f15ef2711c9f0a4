//! How a multi-read extraction begins: some rows, or all, added up to the first panel of the basis, and every row measured.
//!
//! A start needs no more rows than there are columns in the panel, some times over; so where there are many, the first pass
//! looks at some, chosen at random, and the second one measures while it multiplies. Where those tell too little, another
//! pass looks at all.

use super::state::Krylov;
use crate::{
    Delta, Error,
    extract::{
        pass::{Progress, unit_scale},
        plan::MAX_PARTS,
    },
    linalg::orthonormal::orthonormalize,
};

/// Largest |Δᵢⱼ| outside this range would overflow or underflow in Δᵀ·Δ: the entries are scaled then. Sums of rows are held to the same
/// bounds.
const SAFE: core::ops::Range<f32> = 1e-6..4e3;

impl<const W: usize> Krylov<'_, W> {
    /// After a pass that added up one row in `one_in`.
    pub(super) fn end_first_pass(&mut self, one_in: usize) -> Result<(), Error> {
        if one_in == 1 {
            if self.take_measurements()? {
                self.begin()?;
            }
        } else if !self.begin()? {
            self.add_up_all();
        }
        Ok(())
    }

    /// The next pass is to add up and measure all rows.
    fn add_up_all(&mut self) {
        (self.adding, self.delta) = (Some(1), None);
        self.progress = [Progress::default(); MAX_PARTS];
    }

    /// After all rows were measured: refuses what is not finite, ends where nothing differs, finds the scale for what
    /// would leave the range of f32. Whether the sums of this pass are of use.
    pub(super) fn take_measurements(&mut self) -> Result<bool, Error> {
        let mut delta = Delta::default();
        self.progress.iter().for_each(|part| delta.merge(&part.delta));
        self.delta = Some(delta);
        if let Some(row) = delta.first_non_finite_row {
            self.failed = true;
            return Err(Error::NonFinite { row });
        }
        if delta.max_abs == 0.0 {
            self.converged = Some(true);
            return Ok(false);
        }
        if self.scale.is_none() && !SAFE.contains(&delta.max_abs) {
            // Sums of such rows may have left the range already: they are read once more, scaled.
            self.scale = Some(unit_scale(delta.max_abs));
            self.add_up_all();
            return Ok(false);
        }
        Ok(true)
    }

    /// Makes the first panel of the basis of what was added up; false, and nothing done, where some of the rows that were chosen tell too
    /// little.
    fn begin(&mut self) -> Result<bool, Error> {
        self.sum_parts();
        let start = &mut self.q[..self.shape.cols * W];
        self.kernel.transpose(&self.z[..start.len()], self.shape.cols, start)?;
        if self.delta.is_none() {
            // By their bits, so that what is no number is larger than all.
            let mut largest = [0; W];
            for row in start.as_chunks::<W>().0 {
                largest.iter_mut().zip(row).for_each(|(most, x)| *most = x.abs().to_bits().max(*most));
            }
            if !largest.iter().all(|&bits| SAFE.contains(&f32::from_bits(bits))) {
                return Ok(false);
            }
        }
        orthonormalize::<W>(self.kernel, self.shape.cols, &[], 0, start)?;
        self.adding = None;
        self.prepare_pass();
        Ok(true)
    }
}
