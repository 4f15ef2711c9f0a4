//! Measurements of rows: sums of squares in f64, and largest magnitudes.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Delta,
    format::convert::Convert,
    kernel::{Kernel, LANES, Strip, isa::AutoVectorized, operands::BLOCK, portable},
};

/// `count` pieces of [`LANES`] entries, `gap` elements from one to the next, then what is left of a row; false, and nothing
/// done, where an entry is not finite.
struct Measure<'a> {
    values: &'a [f32],
    gap: usize,
    count: usize,
    rest: &'a [f32],
    delta: &'a mut Delta,
}

impl AutoVectorized for Measure<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<C: Convert>(self) -> bool {
        let Self { values, gap, count, rest, delta } = self;
        let mut lanes = portable::Lanes::NOTHING;
        portable::measure_pieces(values, gap, count, &mut lanes);
        portable::measure(rest, count % 2 * LANES, &mut lanes);
        portable::sum_up(&mut lanes, delta)
    }
}

impl Kernel {
    /// Adds the entries of `values`, which lie in row `row` of the difference, to `delta`.
    pub fn measure(self, values: &[f32], row: usize, delta: &mut Delta) {
        let (pieces, rest) = values.as_chunks::<LANES>();
        let all = Measure { values: pieces.as_flattened(), gap: LANES, count: pieces.len(), rest, delta };
        if !self.run(all) {
            portable::count_non_finite(values, row, delta);
        }
    }

    /// [`Kernel::measure`] for a row of a strip, which is row `row` of the difference.
    pub(crate) fn measure_row(self, d: Strip<'_>, at: usize, row: usize, delta: &mut Delta) {
        let values = &d.data[at * LANES..];
        if !self.run(Measure { values, gap: BLOCK, count: d.cols.div_ceil(LANES), rest: &[], delta }) {
            portable::count_non_finite(d.row(at).flatten(), row, delta);
        }
    }
}
