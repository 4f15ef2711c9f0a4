//! Encoding into Q8_0 and Q4_0, with the bits of ggml's reference rounding (`from_float_ref`).
//!
//! A block that holds a NaN or an infinity, where ggml's result is not defined, becomes one that decodes to NaN
//! throughout, so that none is lost.

use half::f16;

/// Weights per block of both formats.
const LEN: usize = 32;

/// Encodes one block: the largest magnitude becomes ±127.
pub fn q8_0(values: &[f32; LEN], block: &mut [u8; 34]) {
    let largest = values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    let (scale, quants) = block.split_at_mut(2);
    let inverse = write_scale(values, largest / 127.0, scale);
    for (quant, value) in quants.iter_mut().zip(values) {
        *quant = integer(libm::roundf(value * inverse)).cast_unsigned();
    }
}

/// Encodes one block: the value of the largest magnitude, the first of them, becomes −8.
pub fn q4_0(values: &[f32; LEN], block: &mut [u8; 18]) {
    let largest =
        values.iter().fold(0.0, |most: f32, &value| if value.abs() > most.abs() { value } else { most });
    let (scale, quants) = block.split_at_mut(2);
    let inverse = write_scale(values, largest / -8.0, scale);
    let four_bits = |value: f32| integer(value * inverse + 8.5).min(15).cast_unsigned();
    for (i, quant) in quants.iter_mut().enumerate() {
        *quant = four_bits(values[i]) | four_bits(values[i + LEN / 2]) << 4;
    }
}

/// Writes `scale`, or NaN where there is none, and gives what to multiply the values by.
fn write_scale(values: &[f32; LEN], scale: f32, to: &mut [u8]) -> f32 {
    let finite = values.iter().all(|value| value.is_finite());
    to.copy_from_slice(&if finite { f16::from_f32(scale) } else { f16::NAN }.to_le_bytes());
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Without the fraction. A scale so small that its inverse overflows is stored as 0, whatever the integers are: they
/// are 0 as well, as where ggml runs on x86-64.
fn integer(value: f32) -> i8 {
    if value.is_finite() { value as i8 } else { 0 }
}
