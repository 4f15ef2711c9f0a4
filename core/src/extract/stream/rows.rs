//! What becomes of the rows of a stream-once extraction: columns in the first read, products in the second.

use super::state::{Stream, W};
use crate::{
    Error, Rows, Shape,
    extract::{
        packed::packed_len,
        pass::{self, Part, Whole},
        strip::{self, DecodedStrip},
    },
    gram_svd,
    kernel::STRIP_ROWS,
    linalg::panels,
};

/// Largest entries outside this range are scaled: their squares would leave the range of f32.
const SAFE: core::ops::Range<f32> = 1e-12..1e12;

impl Stream<'_> {
    /// First read: one more row becomes one more column.
    fn take_row(&mut self, base: Rows<'_>, tuned: Rows<'_>, i: usize) -> Result<(), Error> {
        let cols = self.shape.cols;
        let row = &mut self.strip[..cols];
        strip::whole_row(self.kernel, base, tuned, i, self.channels, row);
        self.kernel.measure(row, self.done, &mut self.delta);
        self.adjust_scale();
        let row = &self.strip[..cols];
        let column = self.depth * W + self.waiting;
        let panel = &mut self.right[column / W * cols * W..][..cols * W];
        let scale = self.scale.unwrap_or(1.0);
        let entries = panel[column % W..].iter_mut().step_by(W);
        entries.zip(row).for_each(|(entry, &value)| *entry = value * scale);
        self.waiting += 1;
        self.done += 1;
        if self.waiting == self.kept() { self.merge() } else { Ok(()) }
    }

    /// Rotates the largest directions to the front and drops the rest.
    pub(super) fn merge(&mut self) -> Result<(), Error> {
        if self.delta.non_finite > 0 || self.waiting == 0 {
            // What is not finite is reported at the end of the pass.
            self.waiting = 0;
            return Ok(());
        }
        let (kept, all, panel) = (self.kept(), 2 * self.kept(), self.shape.cols * W);
        for last in 0..2 * self.depth {
            panels::extend_gram::<W>(self.kernel, self.shape.cols, self.right, (0, last), self.gram, all)?;
        }
        self.decompose(all)?;
        let vectors = &*self.vectors;
        let rotation = |k: usize, j: usize| vectors[j * all + k];
        let right = &mut self.right[..2 * self.depth * panel];
        panels::replace::<W>(self.kernel, self.shape.cols, right, self.depth, rotation, self.temp)?;
        self.right[self.depth * panel..].fill(0.0);
        if self.reads_allowed == 1 {
            let rows = self.shape.rows;
            panels::replace::<W>(self.kernel, rows, self.left, self.depth, rotation, self.temp)?;
            for i in 0..self.waiting {
                let row = self.done - self.waiting + i;
                for j in 0..kept {
                    self.left[j / W * rows * W + row * W + j % W] = rotation(kept + i, j);
                }
            }
        }
        self.waiting = 0;
        Ok(())
    }

    /// Scales what is kept, and all that follows, where the largest entry so far is too large or too small to
    /// be squared.
    fn adjust_scale(&mut self) {
        let (largest, before) = (self.delta.max_abs, self.scale.unwrap_or(1.0));
        if largest > 0.0 && !SAFE.contains(&(largest * before)) {
            let scale = pass::unit_scale(largest);
            // In two steps, as the quotient may leave the range of f32 where the products do not.
            self.right.iter_mut().for_each(|x| *x = *x / before * scale);
            self.scale = Some(scale);
        }
    }

    /// Second read: Y = Δ·V.
    fn multiply(&mut self, base: Rows<'_>, tuned: Rows<'_>, count: usize) -> Result<(), Error> {
        let Shape { rows, cols } = self.shape;
        let packed = packed_len(cols, W);
        let right = self.right[self.depth * cols * W..].chunks_exact(packed.max(1));
        let mut strip = DecodedStrip::new(self.kernel, cols, self.scale, self.channels, self.strip);
        for first in (0..count).step_by(STRIP_ROWS) {
            let batch = STRIP_ROWS.min(count - first);
            strip.decode((base, tuned), first, batch);
            let mut ahead = strip.ahead(base, tuned, first + batch, self.depth);
            for (p, x) in right.clone().take(self.depth).enumerate() {
                let y = &mut self.left[(p * rows + self.done) * W..][..batch * W];
                strip.forward::<W>(batch, x, y, &mut ahead)?;
            }
            self.done += batch;
        }
        Ok(())
    }

    /// The eigenvectors to be kept of the Gram matrix of `size` columns.
    pub(super) fn decompose(&mut self, size: usize) -> Result<(), Error> {
        let kept = self.kept();
        let vectors = &mut self.vectors[..kept * size];
        let sigma = &mut self.sigma[..size];
        self.converged &= gram_svd(self.kernel, self.gram, size, vectors, sigma, self.strip)?;
        self.found = self.sigma[..kept].iter().take_while(|&&sigma| sigma > 0.0).count();
        Ok(())
    }
}

impl Whole for Stream<'_> {
    fn row_count(&self) -> usize {
        self.shape.rows
    }
    fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        let count = pass::count_rows(base, tuned, self.shape.cols, self.shape.rows - self.done)?;
        if self.reads == 0 {
            for i in 0..count {
                self.take_row(base, tuned, i)?;
            }
        } else {
            self.multiply(base, tuned, count)?;
        }
        Ok(())
    }
}

impl<'p> From<&'p mut Stream<'_>> for Part<'p> {
    fn from(state: &'p mut Stream<'_>) -> Self {
        Part::from(state as &mut (dyn Whole + 'p))
    }
}
