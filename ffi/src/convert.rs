//! Between storage formats and f32.

use crate::dtype::dtype;
use crate::guard::{In, Out, guarded};
use core::ffi::c_void;

use crate::status::Status;
use phlora_core::Rows;

/// Decodes weights to float.
///
/// - `weights`, `weights_bytes`, `weights_dtype`: the weights, no alignment needed, and their phlora_dtype.
/// - `values`, `values_len`: exactly as many elements; may not overlap the weights.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, UNKNOWN_VALUE, OUTPUT_LENGTH.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_decode(
    weights: In<c_void>,
    weights_bytes: usize,
    weights_dtype: u32,
    values: Out<f32>,
    values_len: usize,
) -> Status {
    guarded(|guard| {
        let dtype = dtype(weights_dtype)?;
        let bytes = guard.input_bytes(weights, weights_bytes)?;
        Ok(phlora_core::decode(Rows::new(dtype, bytes), guard.output(values, values_len)?)?)
    })
}

/// Encodes floats as weights: rounds to nearest, ties to even; what is beyond the range of the format becomes
/// infinite. Of the formats from 100 on, Q8_0, Q5_1, Q5_0, Q4_1, Q4_0 and IQ4_NL are written, rounded as by ggml's
/// reference; a block of them that holds a NaN or an infinity decodes to NaN throughout.
///
/// - `values`, `values_len`: the floats.
/// - `weights_dtype`: the phlora_dtype to write.
/// - `weights`, `weights_bytes`: exactly the bytes of as many elements; may not overlap the floats.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, UNKNOWN_VALUE, NOT_ENCODED,
/// NOT_WHOLE_BLOCKS, OUTPUT_LENGTH.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_encode(
    values: In<f32>,
    values_len: usize,
    weights_dtype: u32,
    weights: Out<c_void>,
    weights_bytes: usize,
) -> Status {
    guarded(|guard| {
        let dtype = dtype(weights_dtype)?;
        let values = guard.input(values, values_len)?;
        Ok(phlora_core::encode(values, dtype, guard.output_bytes(weights, weights_bytes)?)?)
    })
}
