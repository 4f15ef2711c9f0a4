//! Scales of the columns: the factors are the best for ‖(Δ − B·A)·diag(s)‖, in every mode and any blocks.

use nalgebra::{DMatrix, DVector};
use phlora_core::{Error, Mode, Options};
use phlora_tests::{
    drive::Pair,
    matrix::{Normal, singular_values, with_spectrum},
};

const MODES: [(Mode, u32, f64); 4] = [
    (Mode::Exact, 32, 1e-6),
    (Mode::MultiRead, 32, 1e-3),
    (Mode::StreamOnce, 1, 3e-2),
    (Mode::StreamOnce, 2, 1e-2),
];

/// Scales over three orders of magnitude, some of them 0.
fn scales(cols: usize, seed: u64) -> Vec<f32> {
    let mut normal = Normal::new(seed);
    (0..cols).map(|j| if j % 11 == 3 { 0.0 } else { normal.draw().exp() as f32 }).collect()
}

fn weighed(matrix: &DMatrix<f64>, channels: &[f32]) -> DMatrix<f64> {
    let diagonal = DVector::from_iterator(channels.len(), channels.iter().map(|&s| f64::from(s)));
    matrix * DMatrix::from_diagonal(&diagonal)
}

#[test]
fn the_weighed_error_is_the_least() {
    for (rows, cols) in [(96, 64), (64, 200), (150, 150)] {
        let delta = with_spectrum(rows, cols, 51, |i| 1.0 / (i + 1) as f64);
        let channels = scales(cols, 52);
        let target = weighed(&delta, &channels);
        let total = target.norm_squared();
        let best: f64 = singular_values(&target).iter().take(12).map(|s| s * s).sum();
        let pair = Pair::of(&delta);
        for (mode, max_reads, short) in MODES {
            let options = Options { rank: 12, mode, max_reads, ..Options::default() };
            let factors = pair.extract_weighed(&options, &channels, || usize::MAX).unwrap();
            let left = weighed(&(&delta - factors.product(pair.shape)), &channels).norm_squared();
            let what = format!("{rows}×{cols}, {mode:?} in {max_reads}");
            assert!(1.0 - left / total >= (1.0 - short) * best / total, "{what}: {left} of {total}");
            // What is reported is the weighed energy, as measured, and the norm of what it is a share of.
            assert!((factors.report.energy() - (1.0 - left / total)).abs() < 1e-4, "{what}");
            assert!((factors.report.delta.sum_squares / total - 1.0).abs() < 1e-5, "{what}");
            for j in (0..cols).filter(|j| channels[*j] == 0.0) {
                assert!(factors.a.iter().skip(j).step_by(cols).all(|&a| a == 0.0), "{what}: column {j}");
            }
            // Without scales something else is the best.
            let plain = pair.extract(&options).unwrap();
            let plain = weighed(&(&delta - plain.product(pair.shape)), &channels).norm_squared();
            assert!(plain > 1.05 * left, "{what}: {plain} {left}");
        }
    }
}

#[test]
fn one_scale_for_all_changes_nothing() {
    let delta = with_spectrum(90, 120, 53, |i| 0.8_f64.powi(i32::try_from(i).unwrap()));
    let pair = Pair::of(&delta);
    for (mode, max_reads, _) in MODES {
        let options = Options { rank: 8, mode, max_reads, ..Options::default() };
        let plain = pair.extract(&options).unwrap();
        // A power of two rounds nothing, and its square is one as well.
        let same = pair.extract_weighed(&options, &[4.0; 120], || usize::MAX).unwrap();
        assert_eq!(plain.report.rank, same.report.rank);
        assert!((plain.report.energy() - same.report.energy()).abs() < 1e-6, "{mode:?}");
        let apart = plain.product(pair.shape) - same.product(pair.shape);
        assert!(apart.norm() < 1e-5 * delta.norm(), "{mode:?}: {}", apart.norm());
    }
}

#[test]
fn blocks_change_no_bit() {
    let delta = with_spectrum(150, 300, 54, |i| 1.0 / (i + 1) as f64);
    let (pair, channels) = (Pair::of(&delta), scales(300, 55));
    for (mode, max_reads, _) in MODES {
        let options = Options { rank: 8, mode, max_reads, ..Options::default() };
        let whole = pair.extract_weighed(&options, &channels, || usize::MAX).unwrap();
        for block in [1, 7, 64] {
            assert_eq!(
                pair.extract_weighed(&options, &channels, || block).unwrap(),
                whole,
                "{mode:?} {block}"
            );
        }
    }
}

#[test]
fn scales_that_are_none_are_refused() {
    let pair = Pair::of(&with_spectrum(20, 30, 56, |_| 1.0));
    let options = Options { rank: 4, ..Options::default() };
    let refused = |channels: &[f32]| pair.extract_weighed(&options, channels, || usize::MAX).unwrap_err();
    assert_eq!(refused(&[1.0; 29]), Error::VectorLength);
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let mut channels = [1.0; 30];
        channels[7] = bad;
        assert_eq!(refused(&channels), Error::NonFiniteScale);
    }
    // Nothing counts: nothing is left to extract.
    let factors = pair.extract_weighed(&options, &[0.0; 30], || usize::MAX).unwrap();
    assert!(factors.a.iter().all(|&a| a == 0.0) && factors.report.energy() == 1.0);
}
