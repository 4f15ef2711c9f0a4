//! How much a weight lengthens the vector that it lengthens the most.

use crate::error::{Result, collected, filled};
use crate::run::pool::Ticket;
use crate::source::measure::{DECODED_ROWS, decode};
use crate::source::tensor::Tensor;

/// Reads of the weight: the estimate is within some per cent then.
const READS: usize = 3;

/// Sums side by side, which do not wait for each other.
const LANES: usize = 16;

/// ‖W‖₂ of a weight, estimated from below by so many steps of the power method on WᵀW from a fixed vector; `None` where
/// its entries are not numbers.
pub(crate) fn weight_stretch(tensor: Tensor<'_>, ticket: Ticket<'_>) -> Result<Option<f64>> {
    let (Some(dtype), Some(&rows), cols) = (tensor.dtype(), tensor.shape().first(), tensor.row_len()) else {
        return Ok(None);
    };
    let size = tensor.byte_len();
    ticket.monitor().correct_total(0, (READS * size) as u64);
    let mut values = filled(0.0_f32, DECODED_ROWS.min(rows) * cols)?;
    let mut from: Vec<f32> = collected(cols, (0..cols as u64).map(sign))?;
    let (mut to, mut squared) = (filled(0.0_f32, cols)?, 0.0);
    for _ in 0..READS {
        let length = length(&from);
        if !(length.is_finite() && length > 0.0) {
            return Ok(None);
        }
        for x in &mut from {
            *x = (f64::from(*x) / length) as f32;
        }
        to.fill(0.0);
        for first in (0..rows).step_by(DECODED_ROWS) {
            let some = DECODED_ROWS.min(rows - first);
            let values = &mut values[..some * cols];
            decode(tensor, dtype, first * cols..(first + some) * cols, values)?;
            for row in values.chunks_exact(cols) {
                let product = dot(row, &from);
                to.iter_mut().zip(row).for_each(|(to, value)| *to += product * value);
            }
            ticket.tick(some * size / rows)?;
        }
        squared = self::length(&to);
        std::mem::swap(&mut from, &mut to);
    }
    Ok(Some(squared.sqrt()).filter(|found| found.is_finite()))
}

/// The `index`-th of a fixed sequence of signs, which no weight's rows follow (SplitMix64's finaliser).
fn sign(index: u64) -> f32 {
    let mut bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    if bits >> 63 == 0 { 1.0 } else { -1.0 }
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (lefts, rights) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    for (left, right) in lefts.0.iter().zip(rights.0) {
        for i in 0..LANES {
            sums[i] += left[i] * right[i];
        }
    }
    let rest: f32 = lefts.1.iter().zip(rights.1).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}
