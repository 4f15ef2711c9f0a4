//! Measurements of rows: the sum of squares, the largest magnitude, and what is not finite.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Delta, Error,
    kernel::{
        Kernel, LANES, Strip,
        isa::{Isa, Op},
        operands::SEGMENT,
        portable::{self, Lanes},
    },
};

/// `count` times [`LANES`] entries, `gap` elements from one [`LANES`] to the next, then what is left of a row; false, and nothing
/// done, where an entry is not finite.
struct Measure<'a> {
    values: &'a [f32],
    gap: usize,
    count: usize,
    rest: &'a [f32],
    delta: &'a mut Delta,
}

impl Op for Measure<'_> {
    type Output = bool;
    #[inline(always)]
    fn portable(self) -> bool {
        let mut lanes = Lanes::NOTHING;
        portable::measure(self.values, self.gap, self.count, self.rest, &mut lanes);
        portable::sum_up(&mut lanes, self.delta)
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> bool {
        let Self { values, gap, count, rest, delta } = self;
        let mut lanes = Lanes::NOTHING;
        // SAFETY: the entries are there; the caller's promise.
        let done = unsafe { I::measure(values, gap, count, &mut lanes) };
        portable::measure(values.get(done * gap..).unwrap_or_default(), gap, count - done, rest, &mut lanes);
        portable::sum_up(&mut lanes, delta)
    }
}

impl Kernel {
    /// Runs it: not inlined into both callers where code is to be small.
    fn measured(self, entries: Measure<'_>) -> bool {
        self.run(entries)
    }

    /// Adds the entries of `values`, which lie in row `row` of the difference, to `delta`.
    pub(crate) fn measure(self, values: &[f32], row: usize, delta: &mut Delta) {
        let (whole, rest) = values.as_chunks::<LANES>();
        let all = Measure { values: whole.as_flattened(), gap: LANES, count: whole.len(), rest, delta };
        if !self.measured(all) {
            portable::count_non_finite(values, row, delta);
        }
    }

    /// [`Kernel::measure`] for a row of a strip, which is row `row` of the difference.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn measure_row(
        self,
        d: Strip<'_>,
        at: usize,
        row: usize,
        delta: &mut Delta,
    ) -> Result<(), Error> {
        if !d.is_sound() || at >= d.rows {
            return Err(Error::Operands);
        }
        let (values, count) = (d.data.get(at * LANES..).unwrap_or_default(), d.cols.div_ceil(LANES));
        if !self.measured(Measure { values, gap: SEGMENT, count, rest: &[], delta }) {
            portable::count_non_finite(d.row(at).flatten(), row, delta);
        }
        Ok(())
    }
}

impl Delta {
    /// Adds the entries of `values`, which lie in row `row` of a difference, with the fastest kernel.
    pub fn add_row(&mut self, values: &[f32], row: usize) {
        Kernel::detect().measure(values, row, self);
    }
}
