//! Between storage formats and f32, for whoever reads weights or writes factors.

use crate::{Dtype, Error, Kernel, Rows};

/// Decodes `rows` into `out`, which has exactly as many elements.
///
/// # Errors
/// [`Error::OutputLength`]; nothing is written.
pub fn decode(rows: Rows<'_>, out: &mut [f32]) -> Result<(), Error> {
    let expected = rows.weights();
    if out.len() != expected || !rows.bytes.len().is_multiple_of(rows.dtype.block_bytes()) {
        return Err(Error::OutputLength { expected });
    }
    Kernel::detect().decode(rows, out);
    Ok(())
}

/// `out` = tuned − base, both decoded to f32 first: `out`, `base` and `tuned` have as many elements.
///
/// # Errors
/// [`Error::OutputLength`]; nothing is written.
pub fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) -> Result<(), Error> {
    let expected = base.weights();
    if out.len() != expected || tuned.weights() != expected {
        return Err(Error::OutputLength { expected });
    }
    Kernel::detect().difference(base, tuned, out);
    Ok(())
}

/// Whether no entry of `rows` is infinite or NaN: a look at the exponents or the scales of the formats that are written,
/// many times as fast as decoding.
pub fn all_finite(rows: Rows<'_>) -> bool {
    Kernel::detect().all_finite(rows)
}

/// Encodes `values` as `dtype` into `out`, rounding to nearest, ties to even; what is beyond the range of
/// the format becomes infinite. `out` has exactly the bytes of as many elements.
///
/// [`Dtype::Q8_0`] and [`Dtype::Q4_0`] are rounded as by ggml's reference, to the same bits; a block of them that
/// holds a NaN or an infinity decodes to NaN throughout, and one whose scale overflows f16 to no finite number.
///
/// # Errors
/// [`Error::OutputLength`], in bytes; [`Error::NotWholeBlocks`]; [`Error::NotEncoded`] where
/// [`Dtype::is_encoded`] does not hold. Nothing is written.
pub fn encode(values: &[f32], dtype: Dtype, out: &mut [u8]) -> Result<(), Error> {
    let block_len = dtype.block_len();
    if !values.len().is_multiple_of(block_len) {
        return Err(Error::NotWholeBlocks { block_len });
    }
    let expected = dtype.row_bytes(values.len()).ok_or(Error::TooLarge)?;
    if out.len() != expected {
        return Err(Error::OutputLength { expected });
    }
    if Kernel::detect().encode(values, dtype, out) { Ok(()) } else { Err(Error::NotEncoded) }
}
