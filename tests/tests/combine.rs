//! Several adapters as one: against the f64 decomposition of the sum, with columns that break such routines.

use nalgebra::DMatrix;
use phlora_core::{Adapter, Combined, Dtype, Error, Kernel, Rows, Shape, combine, combine_scratch};
use phlora_tests::{
    adapters::{FORMATS, Pair, exists},
    matrix::{Normal, from_rows, singular_values, with_spectrum},
    tolerance,
};

const EPSILON: f64 = f32::EPSILON as f64;

struct Result {
    product: DMatrix<f64>,
    sigma: Vec<f32>,
    report: Combined,
}

fn run(kernel: Kernel, terms: &[(&Pair, f32)], rank: usize) -> Result {
    let views: Vec<(Adapter<'_>, f32)> = terms.iter().map(|(pair, weight)| (pair.view(), *weight)).collect();
    let shape = views[0].0.shape();
    let ranks = views.iter().map(|(view, _)| view.rank()).sum();
    let needed = combine_scratch(shape, ranks, rank).count().unwrap();
    let mut scratch = vec![f32::NAN; needed + 4];
    let (mut a, mut b) = (vec![f32::NAN; rank * shape.cols], vec![f32::NAN; shape.rows * rank]);
    let mut sigma = vec![f32::NAN; ranks.max(rank) + 1];
    let short = combine(kernel, &views, rank, &mut a, &mut b, &mut sigma, &mut scratch[..needed - 1]);
    assert_eq!(short, Err(Error::ScratchTooSmall { needed }));
    assert!(a.iter().chain(&b).chain(&sigma).all(|x| x.is_nan()), "nothing is written");
    scratch[needed..].fill(7.25);
    let report = combine(kernel, &views, rank, &mut a, &mut b, &mut sigma, &mut scratch).unwrap();
    assert!(scratch[needed..].iter().all(|&x| x == 7.25), "guard elements");
    let product = from_rows(shape.rows, rank, &b) * from_rows(rank, shape.cols, &a);
    Result { product, sigma, report }
}

/// Combines with every kernel, whole and truncated, and checks residual, energy and values.
fn check(name: &str, terms: &[(&Pair, f32)]) {
    let sum =
        terms.iter().map(|(pair, weight)| pair.product() * f64::from(*weight)).reduce(|x, y| x + y).unwrap();
    // Σ |w·s|·‖bₖ‖·‖aₖ‖: what rounding is measured against.
    let size: f64 = terms
        .iter()
        .map(|(pair, weight)| {
            let columns = pair.b.matrix.column_iter().zip(pair.a.matrix.row_iter());
            columns.map(|(b, a)| b.norm() * a.norm()).sum::<f64>() * f64::from((weight * pair.scale).abs())
        })
        .sum();
    let ranks: usize = terms.iter().map(|(pair, _)| pair.a.matrix.nrows()).sum();
    let unit = if size > 0.0 { size } else { 1.0 };
    let exact = singular_values(&(&sum / unit));
    for kernel in Kernel::available() {
        for rank in [ranks, ranks + 3, (ranks / 2).max(1), 1] {
            let result = run(kernel, terms, rank);
            let name = format!("{name}, rank {rank} of {ranks}, {}", kernel.name());
            assert!(result.report.converged, "{name}: {:?}", result.report);
            assert!(result.sigma.is_sorted_by(|x, y| x >= y), "{name}: {:?}", result.sigma);
            let residual = (&sum / unit - &result.product / unit).norm();
            let best = exact.iter().skip(rank).map(|s| s * s).sum::<f64>();
            let slack = tolerance::COMBINE_RESIDUAL * EPSILON;
            assert!(residual <= best.sqrt() + slack, "{name}: {residual:e} against {:e}", best.sqrt());
            for (i, &value) in result.sigma.iter().enumerate() {
                let expected = exact.get(i).copied().unwrap_or(0.0);
                let error = (f64::from(value) / unit - expected).abs();
                assert!(error <= slack, "{name}: σ{i} {value:e} off by {error:e}");
            }
            let total = exact.iter().map(|s| s * s).sum::<f64>();
            if total > 1e-6 {
                let kept = total - residual * residual;
                assert!(kept >= tolerance::COMBINE_ENERGY * (total - best), "{name}: kept {kept} of {total}");
                let honest = (result.report.energy() - kept / total).abs();
                assert!(honest <= tolerance::HONEST_ENERGY, "{name}: energy off by {honest:e}");
                let squares = result.report.sum_squares / unit / unit / total;
                assert!((squares - 1.0).abs() < 1e-5, "{name}: sum of squares {squares}");
            }
        }
    }
}

const SHAPE: Shape = Shape { rows: 67, cols: 300 };
const PLAIN: [Dtype; 2] = [Dtype::F32, Dtype::F32];

#[test]
fn random_adapters_of_every_format() {
    for &a in FORMATS {
        for &b in FORMATS {
            let shape = Shape { rows: 67, cols: 288 };
            let rank = |dtype, rank| if exists(dtype, rank) { rank } else { 32 };
            let x = Pair::random(1, shape, rank(b, 5), [a, b], 0.5);
            let y = Pair::random(2, shape, rank(a, 17), [b, a], 2.0);
            check("two", &[(&x, 1.0), (&y, -0.7)]);
        }
    }
    let pairs: Vec<Pair> = (0..6).map(|i| Pair::random(i, SHAPE, 1 + i as usize, PLAIN, 1.0)).collect();
    check("six", &pairs.iter().map(|pair| (pair, 0.3)).collect::<Vec<_>>());
    check("one", &[(&pairs[5], 1.0)]);
}

#[test]
fn more_ranks_than_rows_or_columns() {
    for (rows, cols) in [(5, 40), (40, 5), (3, 3), (1, 1), (1, 50), (50, 1), (16, 16)] {
        let shape = Shape { rows, cols };
        let (x, y) = (Pair::random(3, shape, 9, PLAIN, 1.0), Pair::random(4, shape, 12, PLAIN, 1.0));
        check(&format!("{rows}×{cols}"), &[(&x, 1.0), (&y, 2.0)]);
    }
}

#[test]
fn empty_shapes() {
    for (rows, cols) in [(0, 4), (4, 0), (0, 0)] {
        let pair = Pair::random(5, Shape { rows, cols }, 2, PLAIN, 1.0);
        let result = run(Kernel::detect(), &[(&pair, 1.0)], 2);
        assert_eq!((result.sigma, result.report.energy()), (vec![0.0; 3], 1.0));
    }
}

#[test]
fn dependent_and_zero_columns() {
    let x = Pair::random(6, SHAPE, 8, PLAIN, 1.0);
    check("the same twice", &[(&x, 1.0), (&x, 1.0)]);
    check("the same nine times", &[(&x, 1.0); 9]);
    check("cancelled", &[(&x, 1.0), (&x, -1.0)]);
    check("nearly cancelled", &[(&x, 1.0), (&x, -0.999)]);
    check("weight 0", &[(&x, 0.0)]);
    check("weight 0 beside another", &[(&x, 0.0), (&x, 1.0)]);
    let zero_b = Pair::new(&DMatrix::from_element(4, 300, 1.0), &DMatrix::zeros(67, 4), PLAIN, 1.0);
    check("B = 0, as before training", &[(&zero_b, 1.0)]);
    check("B = 0 beside another", &[(&zero_b, 1.0), (&x, 1.0)]);
    let ones = Pair::new(&DMatrix::from_element(6, 300, 1.0), &DMatrix::from_element(67, 6, 1.0), PLAIN, 1.0);
    check("all columns equal", &[(&ones, 1.0)]);
    let mut shared = x.clone();
    shared.b = Pair::random(7, SHAPE, 8, PLAIN, 1.0).b;
    check("the same A, another B", &[(&x, 1.0), (&shared, 1.0)]);
    let close = Pair::new(&(&x.a.matrix * (1.0 + 1e-6)), &x.b.matrix, PLAIN, 1.0);
    check("almost the same", &[(&x, 1.0), (&close, -1.0)]);
}

#[test]
fn scales_far_apart() {
    let x = Pair::random(8, SHAPE, 4, PLAIN, 1.0);
    let y = Pair::random(9, SHAPE, 4, PLAIN, 1.0);
    check("1e6 beside 1e-6", &[(&x, 1e6), (&y, 1e-6)]);
    let lopsided = Pair::new(&(&y.a.matrix * 1e25), &(&y.b.matrix * 1e-25), PLAIN, 1.0);
    check("A huge, B tiny", &[(&x, 1.0), (&lopsided, 1.0)]);
    let huge = Pair::new(&(&y.a.matrix * 1e37), &(&y.b.matrix * 1e-3), PLAIN, 1.0);
    check("near overflow", &[(&huge, 1.0), (&x, 1.0)]);
    let tiny = Pair::new(&(&y.a.matrix * 1e-30), &(&y.b.matrix * 1e30), PLAIN, 1e-5);
    check("tiny A, huge B", &[(&tiny, 1e5), (&x, 1.0)]);
    let subnormal = Pair::new(&(&y.a.matrix * 1e-41), &(&y.b.matrix * 1e35), PLAIN, 1e6);
    check("subnormal A", &[(&subnormal, 1.0), (&x, 1.0)]);
    let graded =
        DMatrix::from_fn(67, 8, |i, j| Normal::new((i * 9 + j) as u64).draw() * 0.001_f64.powf(j as f64));
    let graded = Pair::new(&Normal::new(10).matrix(8, 300), &graded, PLAIN, 1.0);
    check("graded columns", &[(&graded, 1.0)]);
}

#[test]
fn small_terms_keep_their_digits_beside_large_ones() {
    // Orthogonal directions, 1e6 apart in size: a decomposition of the product in f32 would lose the small one.
    let directions = with_spectrum(60, 4, 11, |_| 1.0);
    let others = with_spectrum(90, 4, 12, |_| 1.0).transpose();
    let part = |from: usize| {
        Pair::new(&others.rows(from, 2).into_owned(), &directions.columns(from, 2).into_owned(), PLAIN, 1.0)
    };
    let (large, small) = (part(0), part(2));
    let result = run(Kernel::detect(), &[(&large, 1e3), (&small, 1e-3)], 4);
    for (value, expected) in result.sigma.iter().zip([1e3, 1e3, 1e-3, 1e-3]) {
        assert!((value / expected - 1.0).abs() < 1e-2, "{:?}", result.sigma);
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let kernel = Kernel::detect();
    let pair = Pair::random(13, Shape { rows: 6, cols: 8 }, 2, PLAIN, 1.0);
    let other = Pair::random(13, Shape { rows: 8, cols: 6 }, 2, PLAIN, 1.0);
    let view = pair.view();
    let mut scratch = vec![0.0; 10_000];
    let mut run = |terms: &[(Adapter<'_>, f32)], rank: usize| {
        let (mut a, mut b, mut s) = (vec![7.0; 16], vec![7.0; 12], vec![7.0; rank]);
        let result = combine(kernel, terms, rank, &mut a, &mut b, &mut s, &mut scratch);
        if result.is_err() {
            assert!(a.iter().chain(&b).chain(&s).all(|&x| x == 7.0), "outputs are untouched");
        }
        result
    };
    assert!(run(&[(view, 1.0)], 2).is_ok());
    assert_eq!(run(&[], 2), Err(Error::Empty));
    assert_eq!(run(&[(view, 1.0)], 0), Err(Error::RankZero));
    assert_eq!(run(&[(view, 1.0)], 3), Err(Error::OutputLength { expected: 24 }));
    assert_eq!(run(&[(view, 1.0), (other.view(), 1.0)], 2), Err(Error::AdapterShape { index: 1 }));
    assert_eq!(run(&[(view, f32::NAN)], 2), Err(Error::NonFiniteScale));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut broken = pair.clone();
        broken.b.bytes[8..12].copy_from_slice(&bad.to_le_bytes());
        assert_eq!(run(&[(view, 1.0), (broken.view(), 1.0)], 2), Err(Error::NonFiniteFactor { index: 1 }));
        assert_eq!(broken.view().check_finite(kernel), Err(Error::NonFiniteFactor { index: 1 }));
        let mut broken = pair.clone();
        broken.a.bytes[60..].copy_from_slice(&bad.to_le_bytes());
        assert_eq!(run(&[(broken.view(), 1.0)], 2), Err(Error::NonFiniteFactor { index: 0 }));
        assert_eq!(broken.view().check_finite(kernel), Err(Error::NonFiniteFactor { index: 0 }));
    }
    assert_eq!(view.check_finite(kernel), Ok(()));
    let large = Pair::new(&DMatrix::from_element(2, 8, 1e30), &DMatrix::from_element(6, 2, 1e30), PLAIN, 1.0);
    assert_eq!(run(&[(large.view(), 1.0)], 2), Err(Error::OutOfRange));
    assert!(run(&[(large.view(), 1e-30)], 2).is_ok());
}

#[test]
fn views_check_lengths_once() {
    let shape = Shape { rows: 6, cols: 8 };
    let (a, b) = ([0; 64], [0; 48]);
    let of = |rank: usize, a: &[u8], b: &[u8], scale: f32| {
        Adapter::new(shape, rank, Rows::new(Dtype::F32, a), Rows::new(Dtype::F32, b), scale).err()
    };
    assert_eq!(of(2, &a, &b, 1.0), None);
    assert_eq!(of(0, &[], &[], 1.0), Some(Error::RankZero));
    assert_eq!(of(2, &a[1..], &b, 1.0), Some(Error::FactorLength { index: 0 }));
    assert_eq!(of(2, &a, &[&b[..], &b[..]].concat(), 1.0), Some(Error::FactorLength { index: 1 }));
    assert_eq!(of(2, &a, &b, f32::INFINITY), Some(Error::NonFiniteScale));
    assert_eq!(of(usize::MAX / 2, &a, &b, 1.0), Some(Error::TooLarge));
    let view = Adapter::new(shape, 2, Rows::new(Dtype::F32, &a), Rows::new(Dtype::F32, &b), 1e30).unwrap();
    assert_eq!(view.scaled(1e30).err(), Some(Error::NonFiniteScale));
    assert_eq!(view.scaled(2.0).unwrap().scale(), 2e30);
}
