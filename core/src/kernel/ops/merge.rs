//! Rows merged into weights: W += Yᵀ·D.

use crate::{
    Dtype,
    kernel::{
        Ahead, Kernel, Lines, LinesMut, Tile,
        formats::{Bf16, Half, Single},
        isa::{Isa, Op},
        merge::Stored,
        operands::holds,
        portable,
        registers::Registers,
    },
};

/// W += Yᵀ·D for weights of a format that is decoded in registers.
struct MergeRows<'a, 'b, const W: usize> {
    tile: Tile<'a>,
    y: &'a [f32],
    dtype: Dtype,
    weights: Stored,
    ahead: &'a mut Ahead<'b>,
}

impl<const W: usize> Op for MergeRows<'_, '_, W> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {}
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        macro_rules! into {
            ($sink:ty) => {
                I::Merge::merge::<$sink, W>(self.tile, self.y, self.weights, self.ahead)
            };
        }
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe {
            match self.dtype {
                Dtype::F32 => into!(Single),
                Dtype::F16 => into!(Half),
                Dtype::Bf16 => into!(Bf16),
                _ => {}
            }
        }
    }
}

/// Panics unless a tile and what its rows are multiplied with can be merged into as many rows.
#[track_caller]
fn check<const W: usize>(tile: Tile<'_>, y: &[f32], rows: usize) {
    let fits = matches!(W, 8 | 16) && tile.is_sound() && holds(y, tile.rows, W) && rows <= W;
    assert!(fits, "merge: operands too short");
}

impl Kernel {
    /// Whether weights of this format are decoded and encoded in registers, where they are used.
    pub fn in_registers(self, dtype: Dtype) -> bool {
        !self.is_portable() && matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }

    /// W += Yᵀ·D by rows, in the format of the weights: `y` is `tile.rows` × `W`, row-major, and `weights` holds `rows` rows, at
    /// most `W`, of `tile.width` elements. What is added to are they, or the rows `from` of the same format. The sum is made in
    /// f32 and added once, then rounded as [`Kernel::encode`] does. `W` is 8 or 16.
    ///
    /// # Panics
    /// When a buffer is too short, or for a format that is not [merged into in registers](Kernel::in_registers).
    pub fn merge_rows<const W: usize>(
        self,
        tile: Tile<'_>,
        y: &[f32],
        from: Option<Lines<'_>>,
        weights: &mut LinesMut<'_>,
        rows: usize,
        ahead: &mut Ahead<'_>,
    ) {
        let dtype = weights.dtype;
        let fits = |lines: Lines<'_>| lines.dtype == dtype && lines.holds(rows, tile.width);
        check::<W>(tile, y, rows);
        let fit = self.in_registers(dtype) && fits(weights.view()) && from.is_none_or(fits);
        assert!(fit, "merge: rows too short, or of another format");
        let to = weights.bytes.as_mut_ptr();
        let from = from.map_or((to.cast_const(), weights.row), |from| (from.bytes.as_ptr(), from.row));
        let weights = Stored { from, to: (to, weights.row), rows };
        self.run(MergeRows::<W> { tile, y, dtype, weights, ahead });
    }

    /// [`Kernel::merge_rows`] into decoded weights: rows of `tile.width` elements.
    ///
    /// # Panics
    /// When a buffer is too short.
    pub fn merge_values<const W: usize>(
        self,
        tile: Tile<'_>,
        y: &[f32],
        values: &mut [f32],
        rows: usize,
        ahead: &mut Ahead<'_>,
    ) {
        check::<W>(tile, y, rows);
        assert!(holds(values, rows, tile.width), "merge: values too short");
        if self.is_portable() {
            ahead.step();
            return portable::merge_rows(W, tile, y, &mut values[..rows * tile.width]);
        }
        let (at, row) = (values.as_mut_ptr().cast::<u8>(), size_of::<f32>() * tile.width);
        let weights = Stored { from: (at, row), to: (at, row), rows };
        self.run(MergeRows::<W> { tile, y, dtype: Dtype::F32, weights, ahead });
    }
}
