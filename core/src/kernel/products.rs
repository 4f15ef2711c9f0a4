//! The thin products: of any matrix, of a strip of the difference from both sides, and of rows that are merged.

use core::ops::Range;

#[cfg(target_arch = "aarch64")]
use super::aarch64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::merge::Stored;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{
    Ahead, Blocks, BlocksMut, Isa, Kernel, LANES, Lines, LinesMut, ROWS, Strided, TILE, Tile,
    operands::CHUNK, portable,
};
use crate::Dtype;

/// Whether `values` holds `count` rows of `W`.
fn holds<const W: usize>(values: &[f32], count: usize) -> bool {
    count.checked_mul(W).is_some_and(|need| need <= values.len())
}

/// Whether a packed panel of width `W` and lanes of its rows fit a strip.
fn fits<const W: usize>(d: Blocks<'_>, panel: &[f32], lanes: &[f32]) -> bool {
    matches!(W, 8 | 16) && d.cols.div_ceil(LANES / W) <= panel.len() / LANES && d.rows <= lanes.len() / LANES
}

/// Whether a tile and what its rows are multiplied with can be merged into as many rows.
fn merge_fits<const W: usize>(tile: Tile<'_>, y: &[f32], rows: usize) -> bool {
    matches!(W, 8 | 16) && tile.is_sound() && holds::<W>(y, tile.rows) && rows <= W
}

impl Kernel {
    /// C += A·X for a thin X: `a` is `rows` × `depth` with any strides, `x` is `depth` × `W` and `c` is
    /// `rows` × `W`, both row-major. `W` is 8 or 16. Does nothing when a buffer is too short.
    pub fn product<const W: usize>(
        self,
        a: Strided<'_>,
        rows: usize,
        depth: usize,
        x: &[f32],
        c: &mut [f32],
    ) {
        if !(a.holds(rows, depth) && holds::<W>(x, depth) && holds::<W>(c, rows)) {
            debug_assert!(false, "operands of a product are too short");
            return;
        }
        if rows == 0 || depth == 0 {
            // Nothing to add, and no element of A that a pointer to a row could point to.
            return;
        }
        match self.0 {
            Isa::Portable => portable::product::<W>(a, rows, depth, x, c),
            // SAFETY: the operands were checked above, and the variant is made only by `detect` and
            // `available`, where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::product_avx2::<W>(a, rows, depth, x, c) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::product_avx512::<W>(a, rows, depth, x, c) },
            // SAFETY: the operands were checked above; NEON is part of the target.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::product::<W>(a, rows, depth, x, c) },
        }
    }

    /// Lanes of Y += D·X for a strip D: `x` is packed, [`LANES`] elements for each `LANES / W` columns of D, in which element
    /// `c · LANES / W + g` is column c of X at the g-th of them. `y` has [`LANES`] elements per row, those of one column side
    /// by side, to be added up. `W` is 8 or 16; where it is [`LANES`], both are plain panels. Does nothing when a buffer is too
    /// short.
    pub fn forward<const W: usize>(self, d: Blocks<'_>, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>) {
        if !(d.is_sound() && fits::<W>(d, x, y)) {
            debug_assert!(false, "operands of a product are too short");
            return;
        }
        match self.0 {
            Isa::Portable => {
                // It cannot ask for anything, but stays in step with those that can.
                ahead.step();
                portable::forward::<W>(d, x, y);
            }
            // SAFETY: the operands were checked above, and the variant is made only by `detect` and
            // `available`, where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::forward_avx2::<W>(d, x, y, ahead) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::forward_avx512::<W>(d, x, y, ahead) },
            // SAFETY: the operands were checked above; NEON is part of the target.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::forward::<W>(d, x, y, ahead) },
        }
    }

    /// D = tuned − base, into the strip D, and [`Kernel::forward`] with it, to the same bits as one after the other. Each side
    /// holds as many rows and columns; they are of formats of which one row can be cut at [`TILE`] columns. Does nothing when
    /// a buffer is too short.
    pub fn difference_forward<const W: usize>(
        self,
        [base, tuned]: [Lines<'_>; 2],
        mut d: BlocksMut<'_>,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Ahead<'_>,
    ) {
        let (rows, cols) = (d.rows, d.cols);
        let sides_fit = [base, tuned].iter().all(|side| side.holds(rows, cols));
        if !(d.view().is_sound() && sides_fit && fits::<W>(d.view(), x, y)) {
            debug_assert!(false, "operands of a product are too short");
            return;
        }
        // A base of another format than a tuned one that is decoded on the way lies in the strip before.
        let laid = base.dtype != tuned.dtype && rows == ROWS && self.in_registers(tuned.dtype);
        if laid {
            self.decode_columns((None, base), 0..cols, &mut d);
        }
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        let sides = (Some(base).filter(|_| !laid), tuned);
        let done = (laid || base.dtype == tuned.dtype)
            && rows == ROWS
            && match self.0 {
                Isa::Portable => false,
                // SAFETY: the operands were checked above, and the variant is made only by `detect` and
                // `available`, where the processor has the features.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { x86::fresh_avx2::<W>(sides, cols, d.data, x, y, ahead) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { x86::fresh_avx512::<W>(sides, cols, d.data, x, y, ahead) },
                // SAFETY: the operands were checked above; NEON is part of the target.
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => unsafe { aarch64::fresh::<W>(sides, cols, d.data, x, y, ahead) },
            };
        let done = if done { cols / CHUNK * CHUNK } else { 0 };
        // What is left in tiles, which stay near.
        let steps = (cols - done).div_ceil(TILE);
        let mut ahead = if done == 0 { Ahead::new([ahead.step(), &[]], 2 * steps) } else { Ahead::default() };
        for first in (done..cols).step_by(TILE) {
            let end = cols.min(first + TILE);
            self.decode_columns((Some(base), tuned), first..end, &mut d);
            let tile = Blocks { data: &d.data[first * ROWS..], rows, cols: end - first };
            self.forward::<W>(tile, &x[first * W..], y, &mut ahead);
        }
    }

    /// Columns of D, from a whole block on: those of `side`, minus those of `less` where there is one. Apart, for the piece on its
    /// stack.
    #[inline(never)]
    fn decode_columns(
        self,
        (less, side): (Option<Lines<'_>>, Lines<'_>),
        columns: Range<usize>,
        d: &mut BlocksMut<'_>,
    ) {
        let mut piece = [0.0; TILE];
        for first in columns.clone().step_by(TILE) {
            let piece = &mut piece[..TILE.min(columns.end - first)];
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

    /// Z += Dᵀ·Y for a strip D: `y` has [`LANES`] elements per row, each element of Y `LANES / W` times, and `z` is packed as
    /// X in [`Kernel::forward`]. `W` is 8 or 16. Does nothing when a buffer is too short.
    pub fn backward<const W: usize>(self, d: Blocks<'_>, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>) {
        if !(d.is_sound() && fits::<W>(d, z, y)) {
            debug_assert!(false, "operands of a product are too short");
            return;
        }
        match self.0 {
            Isa::Portable => {
                ahead.step();
                portable::backward::<W>(d, y, z);
            }
            // SAFETY: as in `forward`.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::backward_avx2::<W>(d, y, z, ahead) },
            // SAFETY: as in `forward`.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::backward_avx512::<W>(d, y, z, ahead) },
            // SAFETY: as in `forward`.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::backward::<W>(d, y, z, ahead) },
        }
    }

    /// Whether weights of this format are decoded and encoded in registers, where they are used.
    pub fn in_registers(self, dtype: Dtype) -> bool {
        self != Self::PORTABLE && matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }

    /// W += Yᵀ·D by rows, in the format of the weights: `y` is `tile.rows` × `W`, row-major, and `weights` holds `rows` rows, at
    /// most `W`, of `tile.width` elements. What is added to are they, or the rows `from` of the same format. The sum is made in
    /// f32 and added once, then rounded as [`Kernel::encode`] does. `W` is 8 or 16. Does nothing when a buffer is too short, or
    /// for a format that is not [merged into in registers](Kernel::in_registers).
    pub fn merge_rows<const W: usize>(
        self,
        tile: Tile<'_>,
        y: &[f32],
        from: Option<Lines<'_>>,
        weights: &mut LinesMut<'_>,
        rows: usize,
        ahead: &mut Ahead<'_>,
    ) {
        let holds = |lines: Lines<'_>| lines.dtype == weights.dtype && lines.holds(rows, tile.width);
        if !(self.in_registers(weights.dtype)
            && merge_fits::<W>(tile, y, rows)
            && holds(weights.view())
            && from.is_none_or(holds))
        {
            debug_assert!(false, "operands of a merge are too short, or of another format");
            return;
        }
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            let to = weights.bytes.as_mut_ptr();
            let from = from.map_or((to.cast_const(), weights.row), |from| (from.bytes.as_ptr(), from.row));
            let stored = Stored { from, to: (to, weights.row), rows };
            // SAFETY: the operands were checked above.
            unsafe { self.merge_at::<W>(tile, y, (weights.dtype, stored), ahead) }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = ahead;
    }

    /// [`Kernel::merge_rows`] into decoded weights: rows of `tile.width` elements.
    pub fn merge_values<const W: usize>(
        self,
        tile: Tile<'_>,
        y: &[f32],
        values: &mut [f32],
        rows: usize,
        ahead: &mut Ahead<'_>,
    ) {
        let holds = tile.width.checked_mul(rows).is_some_and(|need| need <= values.len());
        if !(merge_fits::<W>(tile, y, rows) && holds) {
            debug_assert!(false, "operands of a merge are too short");
            return;
        }
        if self == Self::PORTABLE {
            ahead.step();
            return portable::merge_rows(W, tile, y, &mut values[..rows * tile.width]);
        }
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            let (at, row) = (values.as_mut_ptr().cast::<u8>(), size_of::<f32>() * tile.width);
            let stored = Stored { from: (at, row), to: (at, row), rows };
            // SAFETY: the operands were checked above.
            unsafe { self.merge_at::<W>(tile, y, (Dtype::F32, stored), ahead) }
        }
    }

    /// [`Kernel::merge_rows`] with explicit vectors.
    ///
    /// # Safety
    /// The operands hold the shapes.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    unsafe fn merge_at<const W: usize>(
        self,
        tile: Tile<'_>,
        y: &[f32],
        weights: (Dtype, Stored),
        ahead: &mut Ahead<'_>,
    ) {
        match self.0 {
            Isa::Portable => {}
            // SAFETY: the caller's promise, and as in `forward`.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::merge_rows_avx2::<W>(tile, y, weights, ahead) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::merge_rows_avx512::<W>(tile, y, weights, ahead) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::merge_rows::<W>(tile, y, weights, ahead) },
        }
    }
}
