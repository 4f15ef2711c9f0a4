//! The products with a strip of the difference, from both sides, and its decoding on the way.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::ops::Range;

use crate::{
    Dtype,
    kernel::{
        Ahead, Kernel, LANES, Lines, STRIP_ROWS, SUM_COLUMNS, Strip, StripMut,
        formats::{Half, Q8_0, Single},
        isa::{Isa, Op},
        operands::CHUNK,
        portable,
        registers::Registers,
    },
};

/// Y += D·X in lanes.
struct Forward<'a, 'b, const W: usize> {
    d: Strip<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    ahead: &'a mut Ahead<'b>,
}

impl<const W: usize> Op for Forward<'_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        // It cannot ask for anything, but stays in step with those that can.
        self.ahead.step();
        portable::forward::<W>(self.d, self.x, self.y);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe { I::Strip::forward::<W>(self.d, self.x, self.y, self.ahead) }
    }
}

/// Z += Dᵀ·Y.
struct Backward<'a, 'b, const W: usize> {
    d: Strip<'a>,
    y: &'a [f32],
    z: &'a mut [f32],
    ahead: &'a mut Ahead<'b>,
}

impl<const W: usize> Op for Backward<'_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        self.ahead.step();
        portable::backward::<W>(self.d, self.y, self.z);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe { I::Strip::backward::<W>(self.d, self.y, self.z, self.ahead) }
    }
}

/// D = tuned − base in whole chunks, both of one format or the base in D before, and Y += D·X; false, and nothing done, for
/// a format without loads of its own.
struct Fresh<'a, 'b, const W: usize> {
    /// `None` where the base is in D.
    base: Option<Lines<'a>>,
    tuned: Lines<'a>,
    /// A strip of whole [`STRIP_ROWS`].
    d: StripMut<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    ahead: &'a mut Ahead<'b>,
}

impl<const W: usize> Op for Fresh<'_, '_, W> {
    type Output = bool;
    #[inline(always)]
    fn portable(self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> bool {
        let (sides, cols) = ([self.base.unwrap_or(self.tuned), self.tuned], self.d.cols);
        macro_rules! from {
            ($source:ty, $laid:literal) => {
                I::Strip::fresh::<$source, W, $laid>(sides, cols, self.d.data, self.x, self.y, self.ahead)
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

/// Panics unless a packed panel of width `W` and lanes of its rows fit a strip.
#[track_caller]
fn check<const W: usize>(d: Strip<'_>, panel: &[f32], lanes: &[f32]) {
    let panel_fits = d.cols.div_ceil(LANES / W) <= panel.len() / LANES;
    let fits = matches!(W, 8 | 16) && d.is_sound() && panel_fits && d.rows <= lanes.len() / LANES;
    assert!(fits, "product of a strip: operands too short");
}

impl Kernel {
    /// Lanes of Y += D·X for a strip D: `x` is packed, [`LANES`] elements for each `LANES / W` columns of D, in which element
    /// `c · LANES / W + g` is column c of X at the g-th of them. `y` has [`LANES`] elements per row, those of one column side
    /// by side, to be added up. `W` is 8 or 16; where it is [`LANES`], both are plain panels.
    ///
    /// # Panics
    /// When a buffer is too short.
    pub fn forward<const W: usize>(self, d: Strip<'_>, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>) {
        check::<W>(d, x, y);
        self.run(Forward::<W> { d, x, y, ahead });
    }

    /// Z += Dᵀ·Y for a strip D: `y` has [`LANES`] elements per row, each element of Y `LANES / W` times, and `z` is packed as
    /// X in [`Kernel::forward`]. `W` is 8 or 16.
    ///
    /// # Panics
    /// When a buffer is too short.
    pub fn backward<const W: usize>(self, d: Strip<'_>, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>) {
        check::<W>(d, z, y);
        self.run(Backward::<W> { d, y, z, ahead });
    }

    /// D = tuned − base, into the strip D, and [`Kernel::forward`] with it, to the same bits as one after the other. Each side
    /// holds as many rows and columns; they are of formats of which one row can be cut at [`SUM_COLUMNS`].
    ///
    /// # Panics
    /// When a buffer is too short.
    pub fn difference_forward<const W: usize>(
        self,
        [base, tuned]: [Lines<'_>; 2],
        mut d: StripMut<'_>,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Ahead<'_>,
    ) {
        let (rows, cols) = (d.rows, d.cols);
        check::<W>(d.view(), x, y);
        assert!([base, tuned].iter().all(|side| side.holds(rows, cols)), "difference: rows are missing");
        // A base of another format than a tuned one that is decoded on the way lies in the strip before.
        let laid = base.dtype != tuned.dtype && rows == STRIP_ROWS && self.in_registers(tuned.dtype);
        if laid {
            self.decode_columns((None, base), 0..cols, &mut d);
        }
        let done = (laid || base.dtype == tuned.dtype) && rows == STRIP_ROWS && {
            let (base, d) = (Some(base).filter(|_| !laid), StripMut { data: d.data, ..d });
            self.run(Fresh::<W> { base, tuned, d, x, y, ahead })
        };
        let done = if done { cols / CHUNK * CHUNK } else { 0 };
        // What is left in pieces, which stay near.
        let steps = (cols - done).div_ceil(SUM_COLUMNS);
        let mut ahead = if done == 0 { Ahead::new([ahead.step(), &[]], 2 * steps) } else { Ahead::default() };
        for first in (done..cols).step_by(SUM_COLUMNS) {
            let end = cols.min(first + SUM_COLUMNS);
            self.decode_columns((Some(base), tuned), first..end, &mut d);
            let piece = Strip { data: &d.data[first * STRIP_ROWS..], rows, cols: end - first };
            self.forward::<W>(piece, &x[first * W..], y, &mut ahead);
        }
    }
    /// Columns of D, from a whole block on: those of `side`, minus those of `less` where there is one. Apart, for the piece on its
    /// stack.
    #[inline(never)]
    fn decode_columns(
        self,
        (less, side): (Option<Lines<'_>>, Lines<'_>),
        columns: Range<usize>,
        d: &mut StripMut<'_>,
    ) {
        let mut piece = [0.0; SUM_COLUMNS];
        for first in columns.clone().step_by(SUM_COLUMNS) {
            let piece = &mut piece[..SUM_COLUMNS.min(columns.end - first)];
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
