//! Exact mode: the whole difference in scratch, decomposed by one-sided Jacobi.

use super::{
    factors::Outputs,
    pass::{self, Part, Whole},
    plan::Plan,
    report::Report,
    strip,
};
use crate::{
    Delta, Error, Goal, Kernel, Rows, Shape, Spectrum,
    linalg::jacobi::{Svd, Sweeps, watched},
    linalg::scratch::{Buffer, Scratch},
};

/// One read, then the decomposition in `end_pass`.
#[derive(Debug)]
pub struct Exact<'s> {
    kernel: Kernel,
    shape: Shape,
    /// The largest rank, then the one chosen.
    rank: usize,
    goal: Goal,
    channels: Option<&'s [f32]>,
    /// Δ, or Δᵀ where that is the taller one, by columns; U after the decomposition.
    matrix: &'s mut [f32],
    /// V by columns.
    v: &'s mut [f32],
    sigma: &'s mut [f32],
    row: &'s mut [f32],
    done: usize,
    delta: Delta,
    svd: Option<Svd>,
    failed: bool,
}

impl<'s> Exact<'s> {
    pub fn scratch(plan: &Plan) -> Scratch {
        let Shape { rows, cols } = plan.shape;
        let narrow = rows.min(cols);
        Scratch::ALIGNED
            .and(Scratch::matrix(rows, cols))
            .and(Scratch::matrix(narrow, narrow))
            .and(Scratch::elements(narrow))
            .and(Scratch::elements(cols))
    }

    pub fn new(plan: &Plan, channels: Option<&'s [f32]>, scratch: &'s mut [f32]) -> Self {
        let mut scratch = Buffer(scratch);
        scratch.align();
        let Shape { rows, cols } = plan.shape;
        let narrow = rows.min(cols);
        let nothing = narrow == 0;
        Self {
            kernel: plan.kernel,
            shape: plan.shape,
            rank: plan.rank,
            goal: plan.goal,
            channels,
            matrix: scratch.take(rows * cols),
            v: scratch.take(narrow * narrow),
            sigma: scratch.take(narrow),
            row: scratch.take(cols),
            done: 0,
            delta: Delta::default(),
            svd: nothing.then_some(Svd {
                sweeps: 0,
                largest_cosine: 0.0,
                converged: true,
                rank: 0,
                scale: 1.0,
            }),
            failed: false,
        }
    }

    /// Whether the columns under rotation are the columns of Δ, not its rows.
    fn upright(&self) -> bool {
        self.shape.rows >= self.shape.cols
    }

    pub fn wants_pass(&self) -> bool {
        self.svd.is_none() && !self.failed
    }

    pub fn reads(&self) -> u32 {
        u32::from(self.svd.is_some())
    }

    pub fn delta(&self) -> Option<Delta> {
        (!self.wants_pass()).then_some(self.delta)
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    /// `watch` is told how many sweeps of the decomposition are done.
    pub fn end_pass(&mut self, watch: &mut dyn FnMut(f32)) -> Result<(), Error> {
        if !self.wants_pass() {
            return Err(Error::OutOfOrder);
        }
        if self.done < self.shape.rows {
            return Err(Error::MissingRows { pushed: self.done });
        }
        if let Some(row) = self.delta.first_non_finite_row {
            self.failed = true;
            return Err(Error::NonFinite { row });
        }
        let tall = self.shape.rows.max(self.shape.cols);
        let v = Some(&mut *self.v);
        let svd = watched(self.kernel, tall, self.matrix, self.sigma, v, Sweeps::default(), watch)?;
        let scale = f64::from(svd.scale);
        let spectrum = Spectrum {
            singular_values: self.sigma,
            sum_squares: self.delta.sum_squares / (scale * scale),
            shape: self.shape,
        };
        self.rank = self.goal.rank(&spectrum, self.rank);
        self.svd = Some(svd);
        Ok(())
    }

    pub fn finish(self, outputs: &mut Outputs<'_>) -> Result<Report, Error> {
        let svd = self.svd.ok_or(Error::OutOfOrder)?;
        outputs.check(self.shape)?;
        let largest = self.sigma.first().map_or(0.0, |&sigma| f64::from(sigma) * f64::from(svd.scale));
        outputs.check_range(largest)?;
        let (Shape { rows, cols }, rank) = (self.shape, outputs.rank);
        let (b, a) = if self.upright() { (&*self.matrix, &*self.v) } else { (&*self.v, &*self.matrix) };
        // Both hold one vector after another: `rows` elements each on the left, `cols` on the right.
        let mut kept = 0.0;
        for j in 0..rank {
            let sigma = f64::from(self.sigma[j]) * f64::from(svd.scale);
            let root = libm::sqrt(sigma) as f32;
            outputs.singular_values[j] = sigma as f32;
            kept += sigma * sigma;
            for (i, &u) in b[j * rows..][..rows].iter().enumerate() {
                outputs.b[i * rank + j] = u * root;
            }
            for (a, &v) in outputs.a[j * cols..][..cols].iter_mut().zip(&a[j * cols..][..cols]) {
                *a = v * root;
            }
        }
        outputs.fill_rest(self.sigma, f64::from(svd.scale));
        Ok(Report { rank, delta: self.delta, kept, reads: 1, converged: svd.converged, sweeps: svd.sweeps })
    }
}

impl Whole for Exact<'_> {
    fn row_count(&self) -> usize {
        self.shape.rows
    }
    fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        let Shape { rows, cols } = self.shape;
        for i in 0..pass::count_rows(base, tuned, cols, rows - self.done)? {
            strip::whole_row(self.kernel, base, tuned, i, self.channels, self.row);
            self.kernel.measure(self.row, self.done, &mut self.delta);
            if self.upright() {
                let entries = self.matrix[self.done..].iter_mut().step_by(rows);
                entries.zip(&*self.row).for_each(|(entry, &value)| *entry = value);
            } else {
                self.matrix[self.done * cols..][..cols].copy_from_slice(self.row);
            }
            self.done += 1;
        }
        Ok(())
    }
}

impl<'p> From<&'p mut Exact<'_>> for Part<'p> {
    fn from(state: &'p mut Exact<'_>) -> Self {
        Part::from(state as &mut (dyn Whole + 'p))
    }
}
