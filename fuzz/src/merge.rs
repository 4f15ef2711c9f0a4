//! Adapters merged into weights: against f64, in any ranges of rows, and out again to the bit.

use crate::apply::{pair, shape};
use crate::draw::Draw;
use nalgebra::DMatrix;
use phlora_core::{Adapter, Dtype, Kernel, Merge, Rows, decode, encode, toggle};
use phlora_tests::adapters::{Pair, Stored};
use phlora_tests::matrix::from_rows;
use phlora_tests::tolerance;

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// One merge.
///
/// # Panics
/// When a result is not as it should be.
pub fn run(data: &[u8]) {
    let mut draw = Draw::new(data);
    let shape = shape(&mut draw);
    let pairs: Vec<(Pair, f32)> = (0..1 + draw.below(3))
        .map(|_| {
            let rank = draw.pick(&[1, 2, 5, 16, 17, 32]);
            (pair(shape, rank, &mut draw), draw.pick(&[1.0, -0.5, 0.0, 2.0]))
        })
        .collect();
    let terms: Vec<(Adapter<'_>, f32)> = pairs.iter().map(|(pair, weight)| (pair.view(), *weight)).collect();
    let encoded: Vec<Dtype> =
        Dtype::ALL.iter().copied().filter(|dtype| dtype.is_encoded() && dtype.row_bytes(shape.cols).is_some()).collect();
    let dtype = draw.pick(&encoded);
    let kernels: Vec<_> = Kernel::available().collect();
    let merge = Merge::new(draw.pick(&kernels), &terms).expect("the adapters fit");
    let (mut prepared, mut scratch) = (vec![f32::NAN; merge.prepared_len()], vec![f32::NAN; merge.scratch_len()]);
    merge.prepare(&mut prepared).expect("the factors are finite");
    let row_bytes = dtype.row_bytes(shape.cols).expect("it has such rows");
    let mut values = vec![0.0_f32; shape.rows * shape.cols];
    let mut normal = draw.normal();
    values.iter_mut().for_each(|value| *value = normal.draw() as f32);
    let mut original = vec![0; shape.rows * row_bytes];
    encode(&values, dtype, &mut original).expect("the length fits");

    let (mut whole, mut stash) = (original.clone(), vec![0; original.len()]);
    merge.rows(&prepared, 0, dtype, &mut whole, Some(&mut stash), &mut scratch).expect("whole rows");
    let range = 1 + draw.below(shape.rows);
    let mut parts = original.clone();
    for (i, rows) in parts.chunks_mut(range * row_bytes).enumerate() {
        merge.rows(&prepared, i * range, dtype, rows, None, &mut scratch).expect("whole rows");
    }
    assert_eq!(parts, whole, "ranges of {range} rows give the same bytes");
    let mut back = whole.clone();
    toggle(&mut back, &stash);
    assert_eq!(back, original, "the stash brings the bytes back");

    let mut plain = vec![0; 4 * values.len()];
    merge.rows_to(&prepared, 0, Rows::new(dtype, &original), Dtype::F32, &mut plain, &mut scratch).expect("whole rows");
    let mut merged = vec![0.0; values.len()];
    decode(Rows::new(Dtype::F32, &plain), &mut merged).expect("the length fits");
    let mut expected = vec![0; whole.len()];
    encode(&merged, dtype, &mut expected).expect("the length fits");
    assert_eq!(whole, expected, "rounded as encode does");
    decode(Rows::new(dtype, &original), &mut values).expect("the length fits");
    let start: DMatrix<f64> = from_rows(shape.rows, shape.cols, &values);
    let (mut exact, mut size, mut ranks) = (start.clone(), start.abs(), 0);
    for (pair, weight) in &pairs {
        exact += pair.product() * f64::from(*weight);
        size += pair.magnitude() * f64::from(weight.abs());
        ranks += stored_rank(&pair.a);
    }
    let got = from_rows(shape.rows, shape.cols, &merged);
    let bound = (2.0 * ranks as f64 + tolerance::MERGE_TERMS) * UNIT;
    for (at, (got, exact)) in got.iter().zip(exact.iter()).enumerate() {
        assert!((got - exact).abs() <= bound * size[at] + 1e-37, "entry {at}: {got}, not {exact}");
    }
}

fn stored_rank(a: &Stored) -> usize {
    a.matrix.nrows()
}
