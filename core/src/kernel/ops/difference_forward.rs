//! Y += D·X while D = tuned − base is decoded into a strip.
//!
//! A window of columns is decoded while the one before is multiplied, some of a row between two steps, since many in one go
//! would hold the multiply-adds up. A base of another format lies decoded in the strip before. Formats without loads of their
//! own, and columns behind the last window, are decoded first and multiplied then.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::{ops::Range, ptr};

use crate::{
    Dtype, Error,
    kernel::{
        Kernel, LANES, Lines, Prefetch, STRIP_ROWS, SUM_COLUMNS, Strip, StripMut,
        formats::{Half, Q8_0, Single, Source},
        isa::{Isa, Op},
        operands::{DECODE_COLUMNS, PIECE, SEGMENT, WINDOW, offset, step_columns},
        tiles::DifferenceTile,
        vector::{SOON, Vector, Walk, ZERO},
    },
};

impl Kernel {
    /// D = tuned − base and Y += D·X, with the bits of a decoded D and [`Kernel::forward`]. Both sides have the rows and columns
    /// of `d`, in formats whose rows can be cut at [`SUM_COLUMNS`].
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn difference_forward<const W: usize>(
        self,
        [base, tuned]: [Lines<'_>; 2],
        mut d: StripMut<'_>,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        let (rows, cols) = (d.rows, d.cols);
        if !d.view().fits::<W>(x, y) || ![base, tuned].iter().all(|side| side.holds(rows, cols)) {
            return Err(Error::Operands);
        }
        // A base of another format than a tuned one that is decoded on the way lies in the strip before.
        let in_strip = base.dtype != tuned.dtype && rows == STRIP_ROWS && self.in_registers(tuned.dtype);
        if in_strip {
            self.decode_columns((None, base), 0..cols, &mut d);
        }
        let done = (in_strip || base.dtype == tuned.dtype) && rows == STRIP_ROWS && {
            let (base, d) = (Some(base).filter(|_| !in_strip), StripMut { data: d.data, ..d });
            self.run(DifferenceForward::<W> { base, tuned, d, x, y, ahead })
        };
        let done = if done { cols / WINDOW * WINDOW } else { 0 };
        // What is left, piece by piece, which stay near.
        let steps = (cols - done).div_ceil(SUM_COLUMNS);
        let mut ahead =
            if done == 0 { Prefetch::new([ahead.step(), &[]], 2 * steps) } else { Prefetch::default() };
        for first in (done..cols).step_by(SUM_COLUMNS) {
            let end = cols.min(first + SUM_COLUMNS);
            self.decode_columns((Some(base), tuned), first..end, &mut d);
            let rest = Strip { data: &d.data[first * STRIP_ROWS..], rows, cols: end - first };
            self.forward::<W>(rest, &x[first * W..], y, &mut ahead)?;
        }
        Ok(())
    }

    /// Columns of D, from a whole segment on: those of `side`, minus those of `less` where there is one. Not inlined, to keep
    /// its local array out of the caller's frame.
    #[inline(never)]
    fn decode_columns(
        self,
        (less, side): (Option<Lines<'_>>, Lines<'_>),
        columns: Range<usize>,
        d: &mut StripMut<'_>,
    ) {
        let mut piece = [0.0; PIECE];
        for first in columns.clone().step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(columns.end - first)];
            for row in 0..d.rows {
                let side = side.piece(row, first, piece.len());
                match less {
                    None => self.decode(side, piece),
                    Some(less) => self.difference(less.piece(row, first, piece.len()), side, piece),
                }
                d.write(row, first, piece);
            }
        }
    }
}

/// D = tuned − base in whole windows, both of one format or the base in D before, and Y += D·X. Its output is false, and nothing
/// done, for a format without loads of its own.
struct DifferenceForward<'a, 'b, const W: usize> {
    /// `None` where the base is in D.
    base: Option<Lines<'a>>,
    tuned: Lines<'a>,
    /// A strip of whole [`STRIP_ROWS`].
    d: StripMut<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    ahead: &'a mut Prefetch<'b>,
}

impl<const W: usize> Op for DifferenceForward<'_, '_, W> {
    type Output = bool;
    #[inline(always)]
    fn portable(self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> bool {
        let (sides, cols) = ([self.base.unwrap_or(self.tuned), self.tuned], self.d.cols);
        macro_rules! from {
            ($source:ty, $in_strip:literal) => {
                I::StripTile::difference_forward::<$source, W, $in_strip>(
                    sides,
                    cols,
                    self.d.data,
                    self.x,
                    self.y,
                    self.ahead,
                )
            };
        }
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe {
            match (self.tuned.dtype, self.base.is_none()) {
                (Dtype::F32, false) => from!(Single, false),
                (Dtype::F16, false) => from!(Half, false),
                (Dtype::Bf16, false) => from!(I::Bf16, false),
                (Dtype::F32, true) => from!(Single, true),
                (Dtype::F16, true) => from!(Half, true),
                (Dtype::Bf16, true) => from!(I::Bf16, true),
                (dtype, false) if dtype.is_q8_0() => from!(Q8_0, false),
                #[cfg(feature = "blocks")]
                (Dtype::Q4_0, false) => from!(crate::kernel::formats::Q4_0, false),
                _ => return false,
            }
        }
        true
    }
}

impl<V: Vector, const MR: usize, const NV: usize> DifferenceTile<V> for [[V; NV]; MR] {
    /// To the same bits as decoding and [`forward`](crate::kernel::tiles::StripTile::forward) one after the other. Where
    /// `IN_STRIP`, the base among `sides` is not looked at.
    ///
    /// # Safety
    /// Each of `sides`, base and tuned, holds [`STRIP_ROWS`] rows of `cols` columns, and `data` a strip of them; `MR` divides
    /// [`STRIP_ROWS`], and `MR` times [`step_columns`] divides [`DECODE_COLUMNS`]; `NV` vectors are [`LANES`] elements.
    #[inline(always)]
    unsafe fn difference_forward<S: Source<V>, const W: usize, const IN_STRIP: bool>(
        sides: [Lines<'_>; 2],
        cols: usize,
        data: &mut [f32],
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) {
        let sides = sides.map(|side| (side.bytes.as_ptr(), side.row));
        let cols = cols / WINDOW * WINDOW;
        let ahead = &mut Walk::new(ahead, cols / DECODE_COLUMNS * STRIP_ROWS * S::LINES);
        // SAFETY: the caller's promise.
        unsafe {
            let steps = DECODE_COLUMNS / MR / step_columns::<W>();
            // Where they are many, the compiler would unroll them, load for all at once and run out of registers.
            let steps = if steps > 2 { core::hint::black_box(steps) } else { steps };
            let mut spare = if IN_STRIP { Some([0.0; ELEMENTS]) } else { None };
            let (to, spare) =
                (data.as_mut_ptr(), spare.as_mut().map_or(ptr::null_mut(), |spare| spare.as_mut_ptr()));
            let decoder = Decoder::<S, IN_STRIP> { source: S::new(), sides, to, spare, cols, steps };
            if cols > 0 {
                for i in 0..STRIP_ROWS {
                    for within in (0..WINDOW).step_by(DECODE_COLUMNS) {
                        decoder.skip(i).decode::<V>(within);
                    }
                }
            }
            for first in (0..cols).step_by(SUM_COLUMNS) {
                let end = cols.min(first + SUM_COLUMNS);
                for i in (0..STRIP_ROWS).step_by(MR) {
                    let y = y.as_mut_ptr().add(i * LANES);
                    decoder.skip(i).forward::<V, MR, NV, W>(first, end, x.as_ptr(), y, ahead);
                }
            }
        }
    }
}

/// Elements of a window of a strip.
const ELEMENTS: usize = WINDOW / LANES * SEGMENT;

/// Stored rows, and the strip that they are decoded into. With `IN_STRIP` the strip holds the decoded base already, and the
/// stored base is not read.
#[derive(Clone, Copy)]
struct Decoder<S, const IN_STRIP: bool> {
    source: S,
    /// First row of base and tuned, and bytes from one to the next.
    sides: [(*const u8, usize); 2],
    to: *mut f32,
    /// A window that counts for nothing.
    spare: *mut f32,
    /// Columns that are decoded, whole windows.
    cols: usize,
    /// Steps of the product from one decoding of [`DECODE_COLUMNS`] to the next.
    steps: usize,
}

impl<S, const IN_STRIP: bool> Decoder<S, IN_STRIP> {
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
                let to = [to.add(offset(first)), to.add(offset(first + V::LANES))];
                let base = if IN_STRIP {
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

    /// Y += D·X for `MR` rows and the columns from `first` to `end`, of which the first window has been decoded: while one is
    /// multiplied, the next one is decoded, beyond `end` as well.
    ///
    /// # Safety
    /// As for [`DifferenceTile::difference_forward`]; `MR` rows exist, `x` starts at the first column of all and `y` at the first row.
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
            let mut x = x.add(first / step_columns::<W>() * LANES);
            for column in (first..end).step_by(WINDOW) {
                // Behind the last window is nothing to decode: the last one is decoded again, to the same bits in its place, or
                // with `IN_STRIP` into `spare`, since there it would be subtracted from itself.
                let is_last = column + WINDOW >= self.cols;
                let next = if is_last { column } else { column + WINDOW };
                let mut decoder = self;
                if IN_STRIP && is_last {
                    decoder.to = self.spare.wrapping_sub(next * STRIP_ROWS);
                }
                for segment in (0..WINDOW).step_by(LANES) {
                    let mut d = self.to.add((column + segment) * STRIP_ROWS);
                    for _ in 0..MR * LANES / WINDOW {
                        for within in (0..WINDOW).step_by(DECODE_COLUMNS) {
                            for _ in 0..self.steps {
                                V::prefetch_near(x.wrapping_add(SOON * LANES).cast());
                                step::<V, MR, NV, W>(&mut sum, d, x);
                                x = x.add(LANES);
                                d = d.add(step_columns::<W>());
                            }
                            decoder.decode(next + within);
                            for _ in 0..S::LINES {
                                ahead.step::<V>();
                            }
                        }
                        decoder = decoder.skip(1);
                    }
                }
            }
            add_to(y, sum);
        }
    }
}

/// The elements of a step from one row: one in all lanes, or two in turn.
///
/// # Safety
/// `from` is valid for [`step_columns`] reads; the processor has the vector's features.
#[inline(always)]
pub unsafe fn splat<V: Vector, const W: usize>(from: *const f32) -> V {
    // SAFETY: the caller's promise.
    unsafe { if step_columns::<W>() == 1 { V::splat(from) } else { V::splat_pair(from) } }
}

/// One step of Y += D·X for `MR` rows.
///
/// # Safety
/// `d` is the first of `MR` rows in a segment, at the first of [`step_columns`] columns; `x` has `NV` vectors; the processor
/// has the vector's features.
#[inline(always)]
pub unsafe fn step<V: Vector, const MR: usize, const NV: usize, const W: usize>(
    sum: &mut [[V; NV]; MR],
    d: *const f32,
    x: *const f32,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let mut wide = [sum[0][0]; NV];
        for v in 0..NV {
            wide[v] = V::load(x.add(v * V::LANES));
        }
        for i in 0..MR {
            let d = splat::<V, W>(d.add(i * LANES));
            for v in 0..NV {
                sum[i][v] = sum[i][v].fused(d, wide[v]);
            }
        }
    }
}

/// Adds a tile of sums to `MR` rows of Y.
///
/// # Safety
/// `y` has `MR` rows of `NV` vectors; the processor has the vector's features.
#[inline(always)]
pub unsafe fn add_to<V: Vector, const MR: usize, const NV: usize>(y: *mut f32, sum: [[V; NV]; MR]) {
    // SAFETY: the caller's promise.
    unsafe {
        for (i, sum) in sum.iter().enumerate() {
            for (v, &sum) in sum.iter().enumerate() {
                let y = y.add((i * NV + v) * V::LANES);
                V::load(y).add(sum).store(y);
            }
        }
    }
}
