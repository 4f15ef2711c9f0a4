//! The difference of two tensors without factors: whether there is any, and its exact norm.

use crate::error::{Error, Result, filled};
use crate::run::pool::Ticket;
use crate::source::tensor::Tensor;
use phlora_core::{Delta, Dtype};

/// Entries decoded at once, small enough for a local array and the first cache; whole blocks of every format.
const AT_ONCE: usize = 2048;
const _: () = assert!(AT_ONCE.is_multiple_of(Dtype::MAX_BLOCK_LEN));

/// Rows of a quantised weight that are decoded at once: the codes of some formats lie by columns.
pub(crate) const DECODED_ROWS: usize = 32;

/// Rows of a weight whose norm stands for that of all.
const SAMPLED: usize = 32;

/// Bytes compared between two looks at the cancel flag.
const COMPARED: usize = 1 << 20;

/// Bytes of a side that are given back at once.
const GIVEN_BACK: usize = 32 << 20;

/// Both sides of a weight that is read once from its start: what was read is given back, so that a table of the vocabulary takes
/// no more memory than the rest.
struct Passed<'m> {
    sides: [Tensor<'m>; 2],
    /// Bytes read, and given back, of each side.
    read: [usize; 2],
    given: [usize; 2],
}

impl<'m> Passed<'m> {
    fn new(base: Tensor<'m>, tuned: Tensor<'m>) -> Self {
        Self { sides: [base, tuned], read: [0; 2], given: [0; 2] }
    }

    /// Counts bytes of both sides as read.
    fn add(&mut self, bytes: [usize; 2]) {
        for at in 0..2 {
            self.read[at] += bytes[at];
            if self.read[at] - self.given[at] >= GIVEN_BACK {
                self.sides[at].give_back(self.given[at]..self.read[at]);
                self.given[at] = self.read[at];
            }
        }
    }
}

/// What one read of both sides tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    /// Sum of squared differences, in f64, of those that are numbers.
    pub(crate) sum_squares: f64,
    /// Position of the first entry that is NaN or infinite.
    pub(crate) non_finite: Option<usize>,
}

/// Whether both sides hold the same bytes in the same format; stops at the first difference.
pub(crate) fn same_bytes(base: Tensor<'_>, tuned: Tensor<'_>, ticket: Ticket<'_>) -> Result<bool> {
    // Equal codes may have other scales.
    let other_order = base.order() != tuned.order() || base.is_quantized() || tuned.is_quantized();
    if other_order || base.dtype_name() != tuned.dtype_name() || base.shape() != tuned.shape() {
        return Ok(false);
    }
    if !base.byte_slices().map(<[u8]>::len).eq(tuned.byte_slices().map(<[u8]>::len)) {
        return Ok(false);
    }
    let mut passed = Passed::new(base, tuned);
    for (left, right) in base.bytes_by(COMPARED).zip(tuned.bytes_by(COMPARED)) {
        if left != right {
            return Ok(false);
        }
        passed.add([left.len(), right.len()]);
        // Counted late: where a tensor has changed, its first bytes are read again at once.
        ticket.tick(2 * left.len())?;
    }
    Ok(true)
}

/// Measures the difference of the first `entries` entries. Both sides hold that many.
pub(crate) fn difference(
    (base, base_dtype): (Tensor<'_>, Dtype),
    (tuned, tuned_dtype): (Tensor<'_>, Dtype),
    entries: usize,
    ticket: Ticket<'_>,
) -> Result<Difference> {
    let mut result = Difference { sum_squares: 0.0, non_finite: None };
    let mut unreported = 0;
    let mut passed = Passed::new(base, tuned);
    let in_order = !base.is_scattered() && !tuned.is_scattered();
    let quantized = base.is_quantized() || tuned.is_quantized();
    let at_once = if quantized { DECODED_ROWS * base.row_len().max(1) } else { AT_ONCE };
    let (mut left, mut right) = (filled(0.0, at_once.min(entries))?, filled(0.0, at_once.min(entries))?);
    for start in (0..entries).step_by(at_once) {
        let range = start..entries.min(start + at_once);
        let (left, right) = (&mut left[..range.len()], &mut right[..range.len()]);
        // The usual case in one step: in two it takes twice as long.
        if in_order {
            let base = base.entries(base_dtype, range.clone());
            let stored = tuned.entries(tuned_dtype, range);
            phlora_core::difference(base, stored, right).map_err(|e| tuned.error(e.to_string()))?;
        } else {
            decode(base, base_dtype, range.clone(), left)?;
            decode(tuned, tuned_dtype, range, right)?;
            right.iter_mut().zip(&*left).for_each(|(tuned, base)| *tuned -= base);
        }
        let mut delta = Delta::default();
        delta.add_row(right, 0);
        // A difference that overflows counts as well.
        if delta.non_finite > 0 && result.non_finite.is_none() {
            result.non_finite = right.iter().position(|d| !d.is_finite()).map(|at| start + at);
        }
        result.sum_squares += delta.sum_squares;
        unreported += left.len();
        if unreported >= COMPARED / 2 {
            let read = [base_dtype, tuned_dtype].map(|dtype| bytes(unreported, dtype));
            ticket.tick(read[0] + read[1])?;
            if in_order {
                passed.add(read);
            }
            unreported = 0;
        }
    }
    ticket.tick(bytes(unreported, base_dtype) + bytes(unreported, tuned_dtype))?;
    Ok(result)
}

/// ‖W‖_F of a weight, `measured`, or estimated from at most [`SAMPLED`] of its rows, which are evenly apart.
pub(crate) fn weight_norm(tensor: Tensor<'_>, measured: bool) -> Result<Option<f64>> {
    let (Some(dtype), Some(&rows), cols) = (tensor.dtype(), tensor.shape().first(), tensor.row_len()) else {
        return Ok(None);
    };
    let step = if measured { 1 } else { rows.div_ceil(SAMPLED).max(1) };
    let (mut values, mut squares, mut seen) = (filled(0.0, cols)?, 0.0, 0_usize);
    for row in (0..rows).step_by(step) {
        decode(tensor, dtype, row * cols..(row + 1) * cols, &mut values)?;
        squares += values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        seen += 1;
    }
    Ok((seen > 0).then(|| (squares * rows as f64 / seen as f64).sqrt()))
}

/// The first NaN or infinity of both sides in row `row` of `cols` entries, as an error that says where it is.
pub(crate) fn non_finite_error(base: Tensor<'_>, tuned: Tensor<'_>, row: usize, cols: usize) -> Error {
    for (side, tensor) in [("base", base), ("tuned", tuned)] {
        let Some(dtype) = tensor.dtype() else { continue };
        let mut values = [0.0; AT_ONCE];
        for first in (0..cols).step_by(AT_ONCE) {
            let values = &mut values[..AT_ONCE.min(cols - first)];
            let at = row * cols + first;
            if decode(tensor, dtype, at..at + values.len(), values).is_err() {
                break;
            }
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let what = if values[at].is_nan() { "NaN" } else { "an infinity" };
                let col = first + at;
                return tensor.error(format!(
                    "{what} in row {}, column {col} of the {side} model, expected finite weights",
                    tensor.stored_row(row)
                ));
            }
        }
    }
    tuned.error(format!("the difference to the base overflows f32 in row {row}"))
}

/// Decodes the entries `range` (row-major, in the order that the tensor is seen in) to f32.
pub(crate) fn decode(
    tensor: Tensor<'_>,
    dtype: Dtype,
    range: std::ops::Range<usize>,
    out: &mut [f32],
) -> Result<()> {
    let decode = |range, out: &mut [f32]| {
        phlora_core::decode(tensor.entries(dtype, range), out).map_err(|e| tensor.error(e.to_string()))
    };
    if tensor.is_quantized() {
        return tensor.decode_quantized(range, out);
    }
    if !tensor.is_scattered() {
        return decode(range, out);
    }
    // Row by row; the first and the last may not be whole.
    let cols = tensor.row_len();
    let (mut at, mut rest) = (range.start, out);
    while !rest.is_empty() {
        let (row, col) = (at / cols, at % cols);
        let (now, after) = rest.split_at_mut(rest.len().min(cols - col));
        let stored = tensor.stored_row(row) * cols + col;
        decode(stored..stored + now.len(), now)?;
        at += now.len();
        rest = after;
    }
    Ok(())
}

fn bytes(entries: usize, dtype: Dtype) -> usize {
    dtype.row_bytes(entries).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::monitor::Monitor;
    use crate::run::pool;
    use crate::source::model::Model;
    use safetensors::tensor::{Dtype as Stored, TensorView};

    /// A model of one F32 weight.
    fn model(path: &std::path::Path, [rows, cols]: [usize; 2], entry: impl Fn(usize) -> f32) -> Model {
        let values: Vec<u8> = (0..rows * cols).flat_map(|at| entry(at).to_le_bytes()).collect();
        let view = TensorView::new(Stored::F32, vec![rows, cols], &values).unwrap();
        safetensors::serialize_to_file([("w", view)], None, path).unwrap();
        Model::open(path).unwrap()
    }

    #[test]
    fn the_first_entry_that_is_no_number_is_found_wherever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let shape = [3, 2500];
        let base = model(&directory.path().join("base"), shape, |_| 1.0);
        for bad in [0, AT_ONCE - 1, AT_ONCE, 2 * AT_ONCE + 5, 7499] {
            let entry = |at: usize| if at == bad || at == 7499 { f32::NAN } else { 3.0 };
            let tuned = model(&directory.path().join("tuned"), shape, entry);
            let (one, other) = (base.tensor("w").unwrap(), tuned.tensor("w").unwrap());
            let work = |(): &mut (), ticket: Ticket<'_>| {
                difference((one, Dtype::F32), (other, Dtype::F32), 7500, ticket)
            };
            let found = pool::run(1, 1, &Monitor::default(), || (), work).unwrap().remove(0);
            assert_eq!(found.non_finite, Some(bad));
            assert_eq!(found.sum_squares, 4.0 * if bad == 7499 { 7499.0 } else { 7498.0 });
            let message = non_finite_error(one, other, bad / 2500, 2500).to_string();
            let place = format!("NaN in row {}, column {} of the tuned model", bad / 2500, bad % 2500);
            assert!(message.contains(&place), "{message}");
        }
    }

    #[test]
    fn a_norm_is_measured_or_estimated_from_rows_evenly_apart() {
        let directory = tempfile::tempdir().unwrap();
        // Each second row is zero: the sample of every third one sees half of them.
        let entry = |at: usize| if (at / 4).is_multiple_of(2) { 2.0 } else { 0.0 };
        let weight = model(&directory.path().join("m"), [96, 4], entry);
        let tensor = weight.tensor("w").unwrap();
        let exact = (48.0 * 4.0 * 4.0_f64).sqrt();
        for measured in [true, false] {
            let found = weight_norm(tensor, measured).unwrap().unwrap();
            assert!((found - exact).abs() < 1e-9, "{found} {exact}");
        }
        // Of each 96 rows, 32 are looked at, the first of every three.
        let weight =
            model(
                &directory.path().join("n"),
                [96, 4],
                |at| if (at / 4).is_multiple_of(3) { 2.0 } else { 0.0 },
            );
        let tensor = weight.tensor("w").unwrap();
        let (all, some) =
            (weight_norm(tensor, true).unwrap().unwrap(), weight_norm(tensor, false).unwrap().unwrap());
        assert!(
            (all - (32.0 * 16.0_f64).sqrt()).abs() < 1e-9 && (some - (96.0 * 16.0_f64).sqrt()).abs() < 1e-9
        );
    }
}
