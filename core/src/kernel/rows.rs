//! Operations on stored rows: decode, subtract, encode, add, multiply with a vector.

#[cfg(target_arch = "aarch64")]
use super::aarch64;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Kernel, LANES, isa::Isa};
#[cfg(feature = "blocks")]
use crate::format::blocks;
use crate::format::{convert::ByInteger, storage};
use crate::{Dtype, Rows};

/// Weights that are decoded at once beside others: whole blocks of every format.
pub(super) const PIECE: usize = Dtype::MAX_BLOCK_LEN;

impl Kernel {
    /// `out[i]` = (row i of `rows`)·x, for `out.len()` rows of `x.len()` elements: each read once, decoded in registers
    /// where the format allows it. A row's bits do not depend on the rows beside it. Does nothing when the rows are
    /// too few, or rows of that length do not exist in the format.
    pub fn dots(self, rows: Rows<'_>, x: &[f32], out: &mut [f32]) {
        self.dots_beside(rows, [x], out.as_chunks_mut::<1>().0);
    }

    /// The same for vectors of one length, side by side: `out[i][t]` = (row i)·x\[t\]. Other vectors beside it do not change
    /// the bits.
    pub(crate) fn dots_beside<const T: usize>(self, rows: Rows<'_>, x: [&[f32]; T], out: &mut [[f32; T]]) {
        let len = x.first().map_or(0, |x| x.len());
        let fits =
            |row_bytes: usize| row_bytes.checked_mul(out.len()).is_some_and(|need| need <= rows.bytes.len());
        let row_bytes = rows.dtype.row_bytes(len).filter(|&row_bytes| fits(row_bytes));
        let Some(row_bytes) = row_bytes.filter(|_| x.iter().all(|x| x.len() == len)) else {
            debug_assert!(false, "operands of a product are too short");
            return;
        };
        if len == 0 {
            return out.as_flattened_mut().fill(0.0);
        }
        if T > 1 && len <= LANES && !self.is_portable() {
            return self.dots_in_turn(rows, row_bytes, x, out);
        }
        let done = match self.0 {
            Isa::Portable => false,
            // SAFETY: the operands were checked above; the variant is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::dots_avx2(rows.dtype, rows.bytes, row_bytes, x, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::dots_avx512(rows.dtype, rows.bytes, row_bytes, x, out) },
            // SAFETY: the operands were checked above; NEON is part of the target.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::dots(rows.dtype, rows.bytes, row_bytes, x, out) },
        };
        if !done {
            self.decoded_dots(rows, row_bytes, x, out);
        }
    }

    /// [`Kernel::dots_beside`] for rows no longer than a register, for which a vector alone has ways of its own. Apart, for the
    /// piece on its stack.
    #[inline(never)]
    fn dots_in_turn<const T: usize>(
        self,
        rows: Rows<'_>,
        row_bytes: usize,
        x: [&[f32]; T],
        out: &mut [[f32; T]],
    ) {
        let mut piece = [0.0; PIECE];
        for (i, out) in out.chunks_mut(PIECE).enumerate() {
            let bytes = rows.bytes.get(i * PIECE * row_bytes..).unwrap_or_default();
            let piece = &mut piece[..out.len()];
            for (t, x) in x.iter().enumerate() {
                self.dots(Rows::new(rows.dtype, bytes), x, piece);
                out.iter_mut().zip(&*piece).for_each(|(out, dot)| out[t] = *dot);
            }
        }
    }

    /// [`Kernel::dots_beside`], decoded piece by piece: some of a row, or some rows. Apart, for the piece on its stack.
    #[inline(never)]
    fn decoded_dots<const T: usize>(
        self,
        rows: Rows<'_>,
        row_bytes: usize,
        x: [&[f32]; T],
        out: &mut [[f32; T]],
    ) {
        let mut piece = [0.0; PIECE];
        let len = x.first().map_or(0, |x| x.len());
        let together = (PIECE / len).max(1);
        for (i, out) in out.chunks_mut(together).enumerate() {
            let bytes = rows.bytes.get(i * together * row_bytes..).unwrap_or_default();
            out.as_flattened_mut().fill(0.0);
            for from in (0..len).step_by(PIECE) {
                let cols = PIECE.min(len - from);
                let bytes =
                    rows.dtype.row_bytes(from).and_then(|start| bytes.get(start..)).unwrap_or_default();
                let piece = &mut piece[..out.len() * cols];
                self.decode(Rows::new(rows.dtype, bytes), piece);
                for (out, row) in out.iter_mut().zip(piece.chunks_exact(cols)) {
                    for (out, x) in out.iter_mut().zip(x) {
                        *out += self.dot(row, &x[from..from + cols]);
                    }
                }
            }
        }
    }

    /// `out` = tuned − base, both decoded to f32 first. Works on min(out, tuned, base) elements.
    pub fn difference(self, base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
        if base.dtype.is_block() || tuned.dtype.is_block() {
            self.difference_of_blocks(base, tuned, out);
        } else {
            with_features!(self, storage::difference::<ByInteger>(base, tuned, out));
        }
    }

    /// [`Kernel::difference`] where a side is in blocks: one side after the other, so that the decoders exist
    /// once. Apart, or every caller would pay for the piece on its stack.
    #[inline(never)]
    fn difference_of_blocks(self, base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
        let len = out.len().min(base.weights()).min(tuned.weights());
        let out = &mut out[..len];
        self.decode(tuned, out);
        let mut piece = [0.0; PIECE];
        let bytes = base.bytes.chunks(base.dtype.row_bytes(PIECE).unwrap_or(PIECE));
        for (out, bytes) in out.chunks_mut(PIECE).zip(bytes) {
            let piece = &mut piece[..out.len()];
            self.decode(Rows::new(base.dtype, bytes), piece);
            // A factor of 1 changes no bit.
            self.subtract_scaled(out, 1.0, piece);
        }
    }

    /// Decodes `rows` to f32, min(rows, out) elements.
    pub fn decode(self, rows: Rows<'_>, out: &mut [f32]) {
        // Apart: what blocks need on the stack costs as much as decoding some floats.
        #[cfg(feature = "blocks")]
        if rows.dtype.is_block() {
            return with_features!(self, blocks::decode_blocks(rows, out));
        }
        with_features!(self, storage::decode::<ByInteger>(rows, out));
    }

    /// Encodes min(values, out) elements, rounding to nearest, ties to even; false, and nothing done, for a format
    /// that cannot be written.
    pub fn encode(self, values: &[f32], dtype: Dtype, out: &mut [u8]) -> bool {
        with_features!(self, storage::encode::<ByInteger>(values, dtype, out))
    }

    /// Whether no entry of `rows` is infinite or NaN.
    pub fn all_finite(self, rows: Rows<'_>) -> bool {
        with_features!(self, storage::all_finite(rows)).unwrap_or_else(|| self.decodes_to_finite(rows))
    }

    /// [`Kernel::all_finite`] by decoding. Apart, for the piece on its stack.
    #[inline(never)]
    fn decodes_to_finite(self, rows: Rows<'_>) -> bool {
        let mut piece = [0.0; PIECE];
        rows.bytes.chunks(rows.dtype.row_bytes(PIECE).unwrap_or(PIECE)).all(|bytes| {
            let rows = Rows::new(rows.dtype, bytes);
            let piece = &mut piece[..rows.weights().min(PIECE)];
            self.decode(rows, piece);
            // Anything times zero is zero, unless it is not finite.
            piece.iter().fold(0.0, |sum, x| sum + x * 0.0) == 0.0
        })
    }

    /// y += values for min(values, y) elements y in f16: decoded, one addition each, rounded as [`Kernel::encode`] does.
    pub fn add_half(self, values: &[f32], y: &mut [u8]) {
        const SIZE: usize = size_of::<u16>();
        let len = values.len().min(y.len() / SIZE);
        let done = match self.0 {
            Isa::Portable => 0,
            // SAFETY: `y` holds as many; the variant is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::add_half_avx2(&values[..len], y.as_mut_ptr()) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::add_half_avx512(&values[..len], y.as_mut_ptr()) },
            // SAFETY: as above; NEON is part of the target.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { aarch64::add_half(&values[..len], y.as_mut_ptr()) },
        };
        if done < len {
            self.add_decoded(&values[done..len], &mut y[SIZE * done..SIZE * len]);
        }
    }

    /// [`Kernel::add_half`] one step after the other. Apart, for the piece on its stack.
    #[inline(never)]
    fn add_decoded(self, values: &[f32], y: &mut [u8]) {
        let mut piece = [0.0; PIECE];
        let bytes = y.chunks_mut(size_of::<u16>() * PIECE);
        for (values, y) in values.chunks(PIECE).zip(bytes) {
            let piece = &mut piece[..values.len()];
            self.decode(Rows::new(Dtype::F16, y), piece);
            // A factor of −1 changes no bit.
            self.subtract_scaled(piece, -1.0, values);
            self.encode(piece, Dtype::F16, y);
        }
    }
}
