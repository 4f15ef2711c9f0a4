//! The first product of a strip, Y += D·X, fused with decoding its rows: a chunk of columns while the one before is
//! multiplied, some of a row between two steps, since many in one go would hold the multiply-adds up. A base of another
//! format lies decoded in the strip already.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::ptr;

use super::{
    Ahead, LANES, Lines, STRIP_ROWS, SUM_COLUMNS,
    formats::Source,
    operands::{BLOCK, CHUNK, DECODE_COLUMNS},
    tile::{add_to, place, step, taken},
    vector::{SOON, Vector, Walk, ZERO},
};

/// Elements of a chunk of a strip.
const ELEMENTS: usize = CHUNK / LANES * BLOCK;

/// Stored rows, and the strip that they are decoded into: where `LAID`, the base is there and not among the rows.
#[derive(Clone, Copy)]
struct Fresh<S, const LAID: bool> {
    source: S,
    /// First row of base and tuned, and bytes from one to the next.
    sides: [(*const u8, usize); 2],
    to: *mut f32,
    /// A chunk that counts for nothing.
    spare: *mut f32,
    /// Columns that are decoded, whole chunks.
    cols: usize,
    /// Steps of the product from one decoded piece to the next.
    steps: usize,
}

impl<S, const LAID: bool> Fresh<S, LAID> {
    /// The rows from `i` on; one beyond the last is not to be read.
    #[inline(always)]
    fn skip(self, i: usize) -> Self {
        let [(base, base_row), (tuned, tuned_row)] = self.sides;
        let sides =
            [(base.wrapping_add(i * base_row), base_row), (tuned.wrapping_add(i * tuned_row), tuned_row)];
        Self { sides, to: self.to.wrapping_add(i * LANES), ..self }
    }

    /// Decodes [`DECODE_COLUMNS`] at `column` of the first row.
    ///
    /// # Safety
    /// It exists; the processor has the vector's features.
    #[inline(always)]
    unsafe fn decode<V: Vector>(self, column: usize)
    where
        S: Source<V>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            let [(base, _), (tuned, _)] = self.sides;
            for first in (0..DECODE_COLUMNS).step_by(2 * V::LANES) {
                let to = self.to.wrapping_add(column * STRIP_ROWS);
                let to = [to.add(place(first)), to.add(place(first + V::LANES))];
                let base = if LAID {
                    [V::load(to[0]), V::load(to[1])]
                } else {
                    self.source.load_pair(base, column + first)
                };
                let tuned = self.source.load_pair(tuned, column + first);
                for half in 0..2 {
                    tuned[half].subtract(base[half]).store(to[half]);
                }
            }
        }
    }

    /// Y += D·X for `MR` rows and the columns from `first` to `end`, of which the first chunk has been decoded: while one is
    /// multiplied, the next one is decoded, beyond `end` as well.
    ///
    /// # Safety
    /// As for [`fresh`]; `MR` rows exist, `x` starts at the first column of all and `y` at the first row.
    #[inline(always)]
    unsafe fn forward<V: Vector, const MR: usize, const NV: usize, const W: usize>(
        self,
        first: usize,
        end: usize,
        x: *const f32,
        y: *mut f32,
        ahead: &mut Walk,
    ) where
        S: Source<V>,
    {
        // SAFETY: every offset below is within what the caller promises.
        unsafe {
            let mut sum = [[V::splat(&raw const ZERO); NV]; MR];
            let mut x = x.add(first / taken::<W>() * LANES);
            for column in (first..end).step_by(CHUNK) {
                // The last one is decoded once more in its place, to the same bits, or where it counts for nothing.
                let is_last = column + CHUNK >= self.cols;
                let next = if is_last { column } else { column + CHUNK };
                let mut fresh = self;
                if LAID && is_last {
                    fresh.to = self.spare.wrapping_sub(next * STRIP_ROWS);
                }
                for block in (0..CHUNK).step_by(LANES) {
                    let mut d = self.to.add((column + block) * STRIP_ROWS);
                    for _ in 0..MR * LANES / CHUNK {
                        for piece in (0..CHUNK).step_by(DECODE_COLUMNS) {
                            for _ in 0..self.steps {
                                V::prefetch_near(x.wrapping_add(SOON * LANES).cast());
                                step::<V, MR, NV, W>(&mut sum, d, x);
                                x = x.add(LANES);
                                d = d.add(taken::<W>());
                            }
                            fresh.decode(next + piece);
                            for _ in 0..S::LINES {
                                ahead.step::<V>();
                            }
                        }
                        fresh = fresh.skip(1);
                    }
                }
            }
            add_to(y, sum);
        }
    }
}

/// D = tuned − base for [`STRIP_ROWS`] rows and the whole chunks of `cols` columns, and [`forward`](super::tile::forward) with
/// them, to the same bits as one after the other. Where `LAID`, D is the base before, and the one among `sides` not looked at.
///
/// # Safety
/// Each of `sides`, base and tuned, holds as many rows and columns, and `data` a strip of them; `x` and `y` hold their shapes;
/// the processor has the vector's features; `MR` divides [`STRIP_ROWS`], and `MR` times [`taken`] divides [`DECODE_COLUMNS`]; `NV` vectors are
/// [`LANES`] elements.
#[inline(always)]
pub unsafe fn fresh<
    V: Vector,
    S: Source<V>,
    const MR: usize,
    const NV: usize,
    const W: usize,
    const LAID: bool,
>(
    sides: [Lines<'_>; 2],
    cols: usize,
    data: &mut [f32],
    x: &[f32],
    y: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let sides = sides.map(|side| (side.bytes.as_ptr(), side.row));
    let cols = cols / CHUNK * CHUNK;
    let ahead = &mut Walk::new(ahead, cols / DECODE_COLUMNS * STRIP_ROWS * S::LINES);
    // SAFETY: the caller's promise.
    unsafe {
        let steps = DECODE_COLUMNS / MR / taken::<W>();
        // Where they are many, the compiler would unroll them, load for all at once and run out of registers.
        let steps = if steps > 2 { core::hint::black_box(steps) } else { steps };
        let mut spare = if LAID { Some([0.0; ELEMENTS]) } else { None };
        let (to, spare) =
            (data.as_mut_ptr(), spare.as_mut().map_or(ptr::null_mut(), |spare| spare.as_mut_ptr()));
        let fresh = Fresh::<S, LAID> { source: S::new(), sides, to, spare, cols, steps };
        if cols > 0 {
            for i in 0..STRIP_ROWS {
                for piece in (0..CHUNK).step_by(DECODE_COLUMNS) {
                    fresh.skip(i).decode::<V>(piece);
                }
            }
        }
        for first in (0..cols).step_by(SUM_COLUMNS) {
            let end = cols.min(first + SUM_COLUMNS);
            for i in (0..STRIP_ROWS).step_by(MR) {
                let y = y.as_mut_ptr().add(i * LANES);
                fresh.skip(i).forward::<V, MR, NV, W>(first, end, x.as_ptr(), y, ahead);
            }
        }
    }
}
