//! Merged weights against f64 in every format, and how exactly they are taken back.

use nalgebra::DMatrix;
use phlora_core::{Adapter, Dtype, Error, Kernel, Merge, Rows, Shape, decode, encode, merge_scratch, toggle};
use phlora_tests::{
    adapters::{Pair, Stored},
    matrix::Normal,
    tolerance,
};

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Unit roundoff and smallest number of a format without blocks.
fn roundoff(dtype: Dtype) -> (f64, f64) {
    match dtype {
        Dtype::F16 => (0.5_f64.powi(11), 0.5_f64.powi(24)),
        Dtype::Bf16 => (0.5_f64.powi(8), f64::from(f32::MIN_POSITIVE)),
        _ => (UNIT, f64::from(f32::MIN_POSITIVE)),
    }
}

fn decoded(dtype: Dtype, bytes: &[u8], shape: Shape) -> Vec<f32> {
    let mut out = vec![0.0; shape.rows * shape.cols];
    decode(Rows::new(dtype, bytes), &mut out).unwrap();
    out
}

/// Merges in place, in ranges of `range` rows; returns the stash.
fn merge(
    kernel: Kernel,
    terms: &[(Adapter<'_>, f32)],
    dtype: Dtype,
    weights: &mut [u8],
    range: usize,
) -> Vec<u8> {
    let merge = Merge::new(kernel, terms).unwrap();
    let mut prepared = vec![f32::NAN; merge.prepared_len()];
    merge.prepare(&mut prepared).unwrap();
    let shape = terms[0].0.shape();
    let row_bytes = dtype.row_bytes(shape.cols).unwrap();
    let mut stash = vec![0xaa; weights.len()];
    let mut scratch = vec![f32::NAN; merge.scratch_len()];
    let ranges = weights.chunks_mut(range * row_bytes).zip(stash.chunks_mut(range * row_bytes));
    for (i, (weights, stash)) in ranges.enumerate() {
        merge.rows(&prepared, i * range, dtype, weights, Some(stash), &mut scratch).unwrap();
    }
    stash
}

fn check(shape: Shape, ranks: &[usize], dtype: Dtype) {
    let formats = [[Dtype::F16, Dtype::F32], [Dtype::F32, Dtype::Bf16], [Dtype::Bf16, Dtype::F16]];
    let pairs: Vec<(Pair, f32)> = ranks
        .iter()
        .enumerate()
        .map(|(i, &rank)| (Pair::random(i as u64, shape, rank, formats[i % 3], 0.25), 1.0 - i as f32 / 2.0))
        .collect();
    let terms: Vec<(Adapter<'_>, f32)> = pairs.iter().map(|(pair, weight)| (pair.view(), *weight)).collect();
    let negated: Vec<(Adapter<'_>, f32)> =
        pairs.iter().map(|(pair, weight)| (pair.view(), -*weight)).collect();
    let sum = |of: fn(&Pair) -> DMatrix<f64>, weight: fn(f32) -> f32| {
        let zero = DMatrix::<f64>::zeros(shape.rows, shape.cols);
        pairs.iter().fold(zero, |sum, (pair, w)| sum + of(pair) * f64::from(weight(*w)))
    };
    let (delta, magnitude) = (sum(Pair::product, |w| w), sum(Pair::magnitude, f32::abs));
    let original = Stored::new(&Normal::new(40).matrix(shape.rows, shape.cols), dtype);
    let name = format!("{shape:?} ranks {ranks:?} {dtype:?}");
    for kernel in Kernel::available() {
        let mut weights = original.bytes.clone();
        let stash = merge(kernel, &terms, dtype, &mut weights, shape.rows);
        for range in [1, 7, 16, 50] {
            let mut again = original.bytes.clone();
            assert_eq!(merge(kernel, &terms, dtype, &mut again, range), stash);
            assert_eq!(weights, again, "{name}: ranges of {range} rows");
        }
        // What is written is what encoding the exact sum's neighbourhood gives.
        let mut plain = vec![0; shape.rows * shape.cols * 4];
        let whole = Merge::new(kernel, &terms).unwrap();
        let (mut prepared, mut scratch) = (vec![0.0; whole.prepared_len()], vec![0.0; whole.scratch_len()]);
        whole.prepare(&mut prepared).unwrap();
        whole.rows_to(&prepared, 0, original.rows(), Dtype::F32, &mut plain, &mut scratch).unwrap();
        let plain = decoded(Dtype::F32, &plain, shape);
        let exact = &original.matrix + &delta;
        let ranks: usize = ranks.iter().sum();
        let terms_of = 2.0 * ranks as f64 + tolerance::MERGE_TERMS;
        for (i, row) in plain.chunks_exact(shape.cols).enumerate() {
            for (j, &got) in row.iter().enumerate() {
                let bound = terms_of * UNIT * (original.matrix[(i, j)].abs() + magnitude[(i, j)]);
                let error = (f64::from(got) - exact[(i, j)]).abs();
                assert!(error <= bound, "{name} at {i},{j}: {error:e} > {bound:e}");
            }
        }
        let mut expected = vec![0; weights.len()];
        encode(&plain, dtype, &mut expected).unwrap();
        assert_eq!(weights, expected, "{name}: rounded as encode does");
        let mut elsewhere = vec![0; weights.len()];
        whole.rows_to(&prepared, 0, original.rows(), dtype, &mut elsewhere, &mut scratch).unwrap();
        assert_eq!(weights, elsewhere, "{name}: in place and to a buffer");

        let mut restored = weights.clone();
        toggle(&mut restored, &stash);
        assert_eq!(restored, original.bytes, "{name}: the stash brings the bits back");
        toggle(&mut restored, &stash);
        assert_eq!(restored, weights, "{name}: and in again");
        if !dtype.is_block() {
            merge(kernel, &negated, dtype, &mut restored, 13);
            let (unit, smallest) = roundoff(dtype);
            for ((i, &got), &w) in
                decoded(dtype, &restored, shape).iter().enumerate().zip(original.matrix.transpose().iter())
            {
                let there = exact[(i / shape.cols, i % shape.cols)].abs();
                let bound = (unit + 2.0 * UNIT) * (w.abs() + 2.0 * there)
                    + smallest
                    + UNIT * terms_of * magnitude[(i / shape.cols, i % shape.cols)] * 2.0 * unit;
                let error = (f64::from(got) - w).abs();
                assert!(error <= bound, "{name}: unmerged, off by {error:e} > {bound:e}");
            }
        }
    }
}

/// Formats that can be written.
fn writable() -> impl Iterator<Item = Dtype> {
    Dtype::ALL.iter().copied().filter(|&dtype| encode(&[], dtype, &mut []).is_ok())
}

#[test]
fn every_format_that_can_be_written() {
    let all: Vec<Dtype> = writable().collect();
    for name in ["F32", "F16", "BF16", "Q8_0", "Q4_0"] {
        let is_there = all.iter().any(|dtype| dtype.name() == name);
        assert_eq!(is_there, !name.starts_with('Q') || cfg!(feature = "blocks"), "{name}");
    }
    for dtype in all {
        check(Shape { rows: 50, cols: 288 }, &[17], dtype);
        check(Shape { rows: 33, cols: 256 }, &[1, 3, 8], dtype);
        check(Shape { rows: 5, cols: 512 }, &[64], dtype);
    }
}

#[test]
fn odd_shapes() {
    for (rows, cols) in [(1, 1), (2, 15), (17, 17), (40, 33), (3, 257), (16, 300)] {
        for ranks in [&[1][..], &[3, 16], &[17]] {
            for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
                check(Shape { rows, cols }, ranks, dtype);
            }
        }
    }
}

#[test]
fn scratch_is_what_it_says() {
    let shape = Shape { rows: 20, cols: 40 };
    let pair = Pair::random(1, shape, 3, [Dtype::F32, Dtype::F32], 1.0);
    let terms = [(pair.view(), 1.0), (pair.view(), 1.0)];
    let merge = Merge::new(Kernel::detect(), &terms).unwrap();
    let (prepared, scratch) = merge_scratch(shape, 6);
    assert_eq!((prepared.count(), scratch.count()), (Ok(merge.prepared_len()), Ok(merge.scratch_len())));
}

#[test]
fn refusals_write_nothing() {
    let kernel = Kernel::detect();
    let shape = Shape { rows: 20, cols: 40 };
    let pair = Pair::random(1, shape, 3, [Dtype::F32, Dtype::F32], 1.0);
    let other = Pair::random(1, Shape { rows: 40, cols: 20 }, 3, [Dtype::F32, Dtype::F32], 1.0);
    assert_eq!(Merge::new(kernel, &[]).err(), Some(Error::Empty));
    let mixed = [(pair.view(), 1.0), (other.view(), 1.0)];
    assert_eq!(Merge::new(kernel, &mixed).err(), Some(Error::AdapterShape { index: 1 }));
    assert_eq!(Merge::new(kernel, &[(pair.view(), f32::INFINITY)]).err(), Some(Error::NonFiniteScale));
    let mut broken = pair.clone();
    broken.b.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let terms = [(pair.view(), 1.0), (broken.view(), 1.0)];
    let merge = Merge::new(kernel, &terms).unwrap();
    let mut prepared = vec![7.0; merge.prepared_len()];
    assert_eq!(merge.prepare(&mut prepared), Err(Error::NonFiniteFactor { index: 1 }));
    assert!(prepared.iter().all(|&x| x == 7.0));

    let terms = [(pair.view(), 1.0)];
    let merge = Merge::new(kernel, &terms).unwrap();
    let mut prepared = vec![0.0; merge.prepared_len()];
    let wrong = merge.prepare(&mut prepared[1..]);
    assert_eq!(wrong, Err(Error::OutputLength { expected: merge.prepared_len() }));
    merge.prepare(&mut prepared).unwrap();
    let needed = merge.scratch_len();
    let run = |prepared: &[f32], first: usize, dtype: Dtype, len: usize, stash: usize, scratch: usize| {
        let (mut weights, mut stash) = (vec![1; len], vec![2; stash]);
        let stash = (!stash.is_empty()).then_some(&mut stash[..]);
        let result = merge.rows(prepared, first, dtype, &mut weights, stash, &mut vec![0.0; scratch]);
        assert!(result.is_ok() || weights.iter().all(|&byte| byte == 1));
        result
    };
    assert_eq!(run(&prepared, 18, Dtype::F32, 320, 320, needed), Ok(()));
    assert_eq!(run(&prepared, 20, Dtype::F32, 0, 0, needed), Ok(()));
    assert_eq!(run(&prepared, 18, Dtype::F32, 480, 0, needed), Err(Error::TooManyRows));
    assert_eq!(run(&prepared, usize::MAX, Dtype::F32, 160, 0, needed), Err(Error::TooManyRows));
    assert_eq!(run(&prepared, 0, Dtype::F16, 81, 0, needed), Err(Error::NotWholeRows));
    #[cfg(feature = "blocks")]
    assert!(run(&prepared, 0, Dtype::Q8_0, 34, 0, needed).is_err());
    assert_eq!(run(&prepared, 0, Dtype::F32, 160, 159, needed), Err(Error::OutputLength { expected: 160 }));
    assert_eq!(
        run(&prepared[1..], 0, Dtype::F32, 160, 0, needed),
        Err(Error::OutputLength { expected: prepared.len() })
    );
    assert_eq!(run(&prepared, 0, Dtype::F32, 160, 0, needed - 1), Err(Error::ScratchTooSmall { needed }));
    let (mut to, mut scratch) = (vec![1; 81], vec![0.0; needed]);
    let from = vec![0; 160];
    let refused =
        merge.rows_to(&prepared, 0, Rows::new(Dtype::F32, &from), Dtype::F16, &mut to, &mut scratch);
    assert_eq!(refused, Err(Error::OutputLength { expected: 80 }));
    if let Some(&read_only) = Dtype::ALL.iter().find(|dtype| !dtype.is_encoded()) {
        let from = Rows::new(Dtype::F32, &from);
        let refused = merge.rows_to(&prepared, 0, from, read_only, &mut to, &mut scratch);
        assert_eq!(refused, Err(Error::NotEncoded));
    }
    assert_eq!(to, vec![1; 81]);
}
