//! Operations on stored rows: decode, subtract, encode, add.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

#[cfg(feature = "blocks")]
use crate::format::blocks;
use crate::{
    Dtype, Rows,
    format::{convert::Convert, storage},
    kernel::{
        Kernel,
        formats::{Half, Sink},
        isa::{AutoVectorized, Isa, Op},
        operands::PIECE,
        vector::Vector,
    },
};

struct Difference<'a> {
    base: Rows<'a>,
    tuned: Rows<'a>,
    out: &'a mut [f32],
}

impl AutoVectorized for Difference<'_> {
    type Output = ();
    #[inline(always)]
    fn run<C: Convert>(self) {
        storage::difference::<C>(self.base, self.tuned, self.out);
    }
}

struct Decode<'a>(Rows<'a>, &'a mut [f32]);

impl AutoVectorized for Decode<'_> {
    type Output = ();
    #[inline(always)]
    fn run<C: Convert>(self) {
        storage::decode::<C>(self.0, self.1);
    }
}

#[cfg(feature = "blocks")]
struct DecodeBlocks<'a>(Rows<'a>, &'a mut [f32]);

#[cfg(feature = "blocks")]
impl AutoVectorized for DecodeBlocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<C: Convert>(self) {
        blocks::decode_blocks(self.0, self.1);
    }
}

struct Encode<'a> {
    values: &'a [f32],
    dtype: Dtype,
    out: &'a mut [u8],
}

impl AutoVectorized for Encode<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<C: Convert>(self) -> bool {
        storage::encode::<C>(self.values, self.dtype, self.out)
    }
}

struct AllFinite<'a>(Rows<'a>);

impl AutoVectorized for AllFinite<'_> {
    type Output = Option<bool>;
    #[inline(always)]
    fn run<C: Convert>(self) -> Option<bool> {
        storage::all_finite(self.0)
    }
}

/// Adds to elements of f16 as far as whole vectors go; gives how many these are.
struct AddHalf<'a> {
    values: &'a [f32],
    /// As many elements.
    y: &'a mut [u8],
}

impl Op for AddHalf<'_> {
    type Output = usize;
    #[inline(always)]
    fn portable(self) -> usize {
        0
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> usize {
        // SAFETY: `y` holds as many elements; the caller's promise.
        unsafe { add::<I::Vector, Half>(self.values, self.y.as_mut_ptr()) }
    }
}

/// Adds `values` to the elements of `row` as far as whole vectors go; gives how many these are.
///
/// # Safety
/// `row` holds as many elements as `values`; the processor has the vector's features.
#[inline(always)]
unsafe fn add<V: Vector, S: Sink<V>>(values: &[f32], row: *mut u8) -> usize {
    let whole = values.len() / V::LANES * V::LANES;
    // SAFETY: j stays below `whole`, a multiple of the lanes.
    unsafe {
        let format = S::new();
        for j in (0..whole).step_by(V::LANES) {
            let sum = format.load(row, j).add(V::load(values.as_ptr().add(j)));
            format.store(sum, row, j);
        }
    }
    whole
}

impl Kernel {
    /// `out` = tuned − base, both decoded to f32 first. Works on min(out, tuned, base) elements.
    pub(crate) fn difference(self, base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
        if base.dtype.is_block() || tuned.dtype.is_block() {
            self.difference_of_blocks(base, tuned, out);
        } else {
            self.run(Difference { base, tuned, out });
        }
    }

    /// [`Kernel::difference`] where a side is in blocks: one side after the other, so that the decoders exist
    /// once.
    /// Not inlined, which keeps its local array out of the frames of callers.
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
    pub(crate) fn decode(self, rows: Rows<'_>, out: &mut [f32]) {
        // An operation of its own: the local array that blocks need costs as much as decoding some floats.
        #[cfg(feature = "blocks")]
        if rows.dtype.is_block() {
            return self.run(DecodeBlocks(rows, out));
        }
        self.run(Decode(rows, out));
    }

    /// Encodes min(values, out) elements, rounding to nearest, ties to even; false, and nothing done, for a format
    /// that cannot be written.
    pub(crate) fn encode(self, values: &[f32], dtype: Dtype, out: &mut [u8]) -> bool {
        self.run(Encode { values, dtype, out })
    }

    /// Whether no entry of `rows` is infinite or NaN.
    pub(crate) fn all_finite(self, rows: Rows<'_>) -> bool {
        self.run(AllFinite(rows)).unwrap_or_else(|| self.decodes_to_finite(rows))
    }

    /// [`Kernel::all_finite`] by decoding.
    /// Not inlined, which keeps its local array out of the frames of callers.
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
    pub(crate) fn add_half(self, values: &[f32], y: &mut [u8]) {
        const SIZE: usize = size_of::<u16>();
        let len = values.len().min(y.len() / SIZE);
        let done = self.run(AddHalf { values: &values[..len], y: &mut y[..SIZE * len] });
        if done < len {
            self.add_decoded(&values[done..len], &mut y[SIZE * done..SIZE * len]);
        }
    }

    /// [`Kernel::add_half`] one step after the other.
    /// Not inlined, which keeps its local array out of the frames of callers.
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
