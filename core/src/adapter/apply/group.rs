//! An adapter and the tokens that use it: both steps, for some of the ranks and for some of the output rows.
//!
//! Tokens walk over the stored rows of A four at a time, which are decoded in registers, and over those of B one after the
//! other, since its rows are near after the first. Many are multiplied sixteen at a time, with decoded pieces of rows ([`sixteens`]).

use core::ops::Range;

use super::{
    sixteens,
    tokens::{Group, stored},
    vectors::{Inputs, Outputs},
};
use crate::{Error, Kernel, Scratch, Shape, kernel::LANES, linalg::scratch::Buffer};

/// Tokens that go over the rows of A together.
const BESIDE: usize = 4;

/// Rows of A that are computed together, and output rows for a few tokens: fewer, where memory is small.
const RANKS: usize = if Kernel::DECODES_ON_THE_WAY { 64 } else { 16 };
const OUTPUTS: usize = if Kernel::DECODES_ON_THE_WAY { 1024 } else { 64 };

/// Least tokens for which sixteen that are not all there pay: in the portable kernel, of block formats, which are dear to decode,
/// and of floats.
const PORTABLE: usize = 4;
const BLOCKS: usize = 6;
const FLOATS: usize = 10;

/// Tokens from which on sixteen at a time pay for A: a row would be decoded eight times.
const MANY: usize = 2 * LANES;

/// Scratch of either step for a group of `tokens`; for more tokens not less.
pub(super) const fn scratch(shape: Shape, rank: usize, tokens: usize) -> Scratch {
    let few = if tokens < FLOATS { tokens } else { FLOATS };
    let beside = if few < BESIDE { few } else { BESIDE };
    // Inputs in f16, decoded; t, token by token.
    let few = Scratch::matrix(beside, shape.cols).or(Scratch::matrix(few, rank));
    if tokens < PORTABLE { few } else { few.or(sixteens::scratch(shape, rank, tokens)) }
}

impl Group<'_> {
    /// How many tokens, the first ones, go sixteen at a time where that pays from `least` on.
    fn in_sixteens(&self, least: usize) -> usize {
        let tokens = self.tokens.len();
        let rest = tokens % LANES;
        if rest < least { tokens - rest } else { tokens }
    }

    /// t = s·A·x for ranks `ranks`: `t` has a row per rank, of the tokens' elements.
    pub fn down(
        &self,
        ranks: Range<usize>,
        x: Inputs<'_>,
        t: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let mut first = match (self.kernel.is_portable(), self.tokens.len()) {
            (true, _) => self.in_sixteens(PORTABLE),
            (_, MANY..) => self.in_sixteens(FLOATS),
            _ => 0,
        };
        if first > 0 {
            sixteens::down(self, first, ranks.clone(), x, t, scratch)?;
        }
        while first < self.tokens.len() {
            first += match self.tokens.len() - first {
                BESIDE.. => self.down_few::<BESIDE>(first, ranks.clone(), x, t, scratch)?,
                2.. => self.down_few::<2>(first, ranks.clone(), x, t, scratch)?,
                _ => self.down_few::<1>(first, ranks.clone(), x, t, scratch)?,
            };
        }
        Ok(())
    }

    /// The same for tokens `first`…, `T` of them.
    fn down_few<const T: usize>(
        &self,
        first: usize,
        ranks: Range<usize>,
        x: Inputs<'_>,
        t: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<usize, Error> {
        let a = self.adapter.a();
        let mut scratch = Buffer(scratch);
        let (mut vectors, mut strength) = ([&[][..]; T], [0.0; T]);
        for (i, (vector, strength)) in vectors.iter_mut().zip(&mut strength).enumerate() {
            let Some((token, _)) = self.tokens.get(first + i) else { continue };
            *strength = self.strength(first + i);
            *vector = x.vector(self.kernel, token, a.cols, &mut scratch);
        }
        let mut sums = [[0.0; T]; RANKS];
        let mut t = t.chunks_exact_mut(self.tokens.len());
        for rank in ranks.clone().step_by(RANKS) {
            let sums = &mut sums[..RANKS.min(ranks.end - rank)];
            self.kernel.dots_beside(stored(a, rank..rank + sums.len()), vectors, sums)?;
            for (sums, t) in sums.iter().zip(&mut t) {
                for ((t, sum), strength) in t[first..].iter_mut().zip(sums).zip(strength) {
                    *t = sum * strength;
                }
            }
        }
        Ok(T)
    }

    /// y += B·t for output rows `rows`.
    pub fn up(
        &self,
        rows: Range<usize>,
        t: &[f32],
        y: &mut impl Outputs,
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let first = self.in_sixteens(match (self.kernel.is_portable(), self.adapter.b().dtype.is_block()) {
            (true, _) => PORTABLE,
            (_, true) => BLOCKS,
            _ => FLOATS,
        });
        if first > 0 {
            sixteens::up(self, first, rows.clone(), t, y, scratch)?;
        }
        if first < self.tokens.len() {
            self.up_few(first, rows, t, y, scratch)?;
        }
        Ok(())
    }

    /// The same for tokens `first`….
    fn up_few(
        &self,
        first: usize,
        rows: Range<usize>,
        t: &[f32],
        y: &mut impl Outputs,
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let (b, rank, count) = (self.adapter.b(), self.adapter.rank(), self.tokens.len());
        let turned = &mut scratch[..(count - first) * rank];
        for (i, turned) in turned.chunks_exact_mut(rank).enumerate() {
            turned
                .iter_mut()
                .zip(t.iter().skip(first + i).step_by(count))
                .for_each(|(turned, t)| *turned = *t);
        }
        let mut values = [0.0; OUTPUTS];
        for row in rows.clone().step_by(OUTPUTS) {
            let values = &mut values[..OUTPUTS.min(rows.end - row)];
            for (i, t) in turned.chunks_exact(rank).enumerate() {
                let Some((token, _)) = self.tokens.get(first + i) else { continue };
                self.kernel.dots(stored(b, row..row + values.len()), t, values)?;
                y.add(self.kernel, token, row, values);
            }
        }
        Ok(())
    }
}
