//! Quantised weights: against what the libraries that define them computed, against decoders that read bit by bit, in any
//! cut into ranges of rows; and what is refused.

mod by_columns;
mod hostile;
mod naive;
mod refusals;
mod schemes;
mod vectors;

use phlora_core::Shape;
use phlora_core::quantized::{Quantized, Scheme};
use phlora_tests::matrix::Normal;

/// Bits, but all NaN alike.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Decodes all at once and in random ranges of rows; both must give the bits of `expected`.
fn check(name: &str, shape: Shape, scheme: Scheme<'_>, expected: &[f32]) {
    let matrix = Quantized::new(shape, scheme).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((matrix.rows(), matrix.cols()), (shape.rows, shape.cols));
    let mut out = vec![0.5; expected.len()];
    matrix.decode(0..shape.rows, &mut out).unwrap();
    for (i, (found, expected)) in bits(&out).into_iter().zip(bits(expected)).enumerate() {
        let (row, col) = (i / shape.cols, i % shape.cols);
        assert_eq!(found, expected, "{name}: row {row}, column {col}: {}", f32::from_bits(expected));
    }
    let mut normal = Normal::new(shape.rows as u64);
    for _ in 0..20 {
        let start = normal.below(shape.rows as u32);
        let end = start + normal.below((shape.rows - start) as u32 + 1);
        let mut run = vec![0.5; (end - start) * shape.cols];
        matrix.decode(start..end, &mut run).unwrap();
        assert_eq!(bits(&run), bits(&out[start * shape.cols..end * shape.cols]), "{name}: {start}..{end}");
    }
}
