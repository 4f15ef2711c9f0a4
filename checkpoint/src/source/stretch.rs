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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::monitor::Monitor;
    use crate::run::pool;
    use crate::source::model::Model;
    use safetensors::tensor::{Dtype, TensorView};

    /// What is found of a matrix of these F32 entries.
    fn found(rows: usize, cols: usize, entry: impl Fn(usize, usize) -> f32) -> Option<f64> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        let values = (0..rows * cols).flat_map(|at| entry(at / cols, at % cols).to_le_bytes());
        let values: Vec<u8> = values.collect();
        let view = TensorView::new(Dtype::F32, vec![rows, cols], &values).unwrap();
        safetensors::serialize_to_file([("w", view)], None, &path).unwrap();
        let model = Model::open(&path).unwrap();
        let tensor = model.tensor("w").unwrap();
        let work = |(): &mut (), ticket: Ticket<'_>| weight_stretch(tensor, ticket);
        pool::run(1, 1, &Monitor::default(), || (), work).unwrap().remove(0)
    }

    #[test]
    fn of_one_direction_it_is_exact() {
        // Rows and columns that are no whole chunks.
        let (rows, cols) = (70, 37);
        let (u, v) = (|i: usize| (i % 5) as f32 - 1.5, |j: usize| (j % 7) as f32 - 2.5);
        let length =
            |n, x: &dyn Fn(usize) -> f32| (0..n).map(|i| f64::from(x(i)).powi(2)).sum::<f64>().sqrt();
        let exact = length(rows, &u) * length(cols, &v);
        let found = found(rows, cols, |i, j| u(i) * v(j)).unwrap();
        assert!((found / exact - 1.0).abs() < 1e-5, "{found} {exact}");
    }

    #[test]
    fn of_several_directions_it_is_from_below_and_near() {
        let found = found(40, 24, |i, j| if i == j { 24.0 - i as f32 } else { 0.0 }).unwrap();
        assert!((0.9 * 24.0..=24.0 + 1e-4).contains(&found), "{found}");
    }

    #[test]
    fn what_has_no_length_has_none() {
        for bad in [0.0, f32::NAN, f32::INFINITY] {
            assert_eq!(found(3, 2, |_, _| bad), None, "{bad}");
        }
    }

    #[test]
    fn signs_are_the_first_bits_of_splitmix64() {
        // Its first outputs from the seed 0: e2…, 6e…, 06…, f8…, 1b…, 53…, 2c…, c5…, 3e…, f3….
        let signs: Vec<_> = (0..10).map(sign).collect();
        assert_eq!(signs, [-1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0]);
    }
}
