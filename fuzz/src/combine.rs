//! Adapters combined: success is finite, failure writes nothing, and where numbers are moderate the sum is that of f64.

use crate::apply::{pair, shape};
use crate::draw::Draw;
use phlora_core::{Adapter, Dtype, Error, Kernel, Rows, combine, combine_scratch};
use phlora_tests::adapters::Pair;
use phlora_tests::matrix::{from_rows, singular_values};
use phlora_tests::tolerance;

/// One combination.
///
/// # Panics
/// When a result is not as it should be.
pub fn run(data: &[u8]) {
    let mut draw = Draw::new(data);
    let shape = shape(&mut draw);
    let moderate = draw.below(2) == 0;
    let count = 1 + draw.below(3);
    let pairs: Vec<Pair> = (0..count)
        .filter(|_| moderate)
        .map(|_| {
            let rank = draw.pick(&[1, 2, 3, 5, 8]);
            pair(shape, rank, &mut draw)
        })
        .collect();
    // Factors of any bits.
    let wild: Vec<(usize, Vec<u8>, Vec<u8>, f32)> = (0..count)
        .filter(|_| !moderate)
        .map(|_| {
            let rank = 1 + draw.below(4);
            let scale = if draw.rarely(4) { draw.float() } else { 1.0 };
            let mut normal = draw.normal();
            let spread = f64::from(draw.byte()) / 6.0;
            let mut floats = |len: usize| -> Vec<u8> {
                let float = |normal: &mut phlora_tests::matrix::Normal| normal.draw() * 10_f64.powf((spread * normal.draw()).clamp(-45.0, 38.0));
                (0..len).flat_map(|_| (float(&mut normal).clamp(-3.4e38, 3.4e38) as f32).to_le_bytes()).collect()
            };
            let (a, b) = (floats(rank * shape.cols), floats(shape.rows * rank));
            (rank, a, b, scale)
        })
        .collect();
    let mut terms: Vec<(Adapter<'_>, f32)> = pairs.iter().map(|pair| (pair.view(), 1.0)).collect();
    for (rank, a, b, scale) in &wild {
        match Adapter::new(shape, *rank, Rows::new(Dtype::F32, a), Rows::new(Dtype::F32, b), *scale) {
            Ok(view) => terms.push((view, 1.0)),
            Err(_) => return,
        }
    }
    terms.iter_mut().for_each(|(_, weight)| *weight = draw.pick(&[1.0, -0.5, 0.0, 2.0]));
    let ranks: usize = terms.iter().map(|(view, _)| view.rank()).sum();
    let rank = 1 + draw.below(ranks + 2);
    let kernels: Vec<_> = Kernel::available().collect();
    let mut scratch = vec![f32::NAN; combine_scratch(shape, ranks, rank).count().expect("it is small")];
    let (mut a, mut b, mut sigma) = (vec![7.0; rank * shape.cols], vec![7.0; shape.rows * rank], vec![7.0; rank]);
    let done = combine(draw.pick(&kernels), &terms, rank, &mut a, &mut b, &mut sigma, &mut scratch);
    let combined = match done {
        Ok(combined) => combined,
        Err(error) => {
            assert!(!moderate, "{error:?}");
            assert!(matches!(error, Error::OutOfRange | Error::NonFiniteFactor { .. } | Error::NonFiniteScale), "{error:?}");
            assert!(a.iter().chain(&b).chain(&sigma).all(|x| *x == 7.0), "outputs are untouched");
            return;
        }
    };
    assert!(a.iter().chain(&b).chain(&sigma).all(|x| x.is_finite()), "{sigma:?}");
    assert!(combined.kept.is_finite() && combined.sum_squares.is_finite() && combined.energy().is_finite(), "{combined:?}");
    assert!(sigma.is_sorted_by(|x, y| x >= y), "{sigma:?}");
    if !moderate {
        return;
    }
    let weights: Vec<f64> = terms.iter().map(|(_, weight)| f64::from(*weight)).collect();
    let sum = pairs.iter().zip(&weights).map(|(pair, weight)| pair.product() * *weight).reduce(|x, y| x + y).expect("one at least");
    let size: f64 = pairs
        .iter()
        .zip(&weights)
        .map(|(pair, weight)| {
            let columns = pair.b.matrix.column_iter().zip(pair.a.matrix.row_iter());
            columns.map(|(b, a)| b.norm() * a.norm()).sum::<f64>() * (weight * f64::from(pair.scale)).abs()
        })
        .sum();
    if size == 0.0 {
        return;
    }
    let product = from_rows(shape.rows, rank, &b) * from_rows(rank, shape.cols, &a);
    let rest = ((&sum - product) / size).norm();
    let best = singular_values(&(&sum / size)).iter().skip(rank).map(|sigma| sigma * sigma).sum::<f64>().sqrt();
    let slack = tolerance::COMBINE_RESIDUAL * f64::from(f32::EPSILON);
    assert!(rest <= best + slack, "{rest:e} is left, {best:e} could be");
}
