//! Success means finite factors: entries anywhere in the range of f32, through every mode, and factors through `combine`.

use nalgebra::DMatrix;
use phlora_core::{Adapter, Dtype, Error, Kernel, Mode, Options, Rows, Shape, combine, combine_scratch};
use phlora_tests::{
    drive::{Factors, Pair},
    matrix::{Normal, f32_bytes, with_spectrum},
};

const MODES: [Mode; 3] = [Mode::Exact, Mode::MultiRead, Mode::StreamOnce];

fn options(mode: Mode, max_reads: u32) -> Options {
    Options { rank: 4, mode, max_reads, ..Options::default() }
}

fn assert_finite(name: &str, found: &Factors) {
    let outputs = [&found.a, &found.b, &found.singular_values];
    assert!(outputs.into_iter().flatten().all(|x| x.is_finite()), "{name}: {:?}", found.singular_values);
    let report = found.report;
    let sums = [report.kept, report.delta.sum_squares, report.energy()];
    assert!(sums.iter().all(|x| x.is_finite() && *x >= 0.0), "{name}: {report:?}");
    assert!(report.kept <= report.delta.sum_squares * 1.001, "{name}: {report:?}");
}

#[test]
fn a_singular_value_beyond_f32_is_refused_and_nothing_is_written() {
    for (rows, cols) in [(64, 64), (40, 90), (90, 40), (600, 48)] {
        for entry in [1.1e37, 2e38, f64::from(f32::MAX)] {
            let pair = Pair::of(&DMatrix::from_element(rows, cols, entry));
            for (mode, reads) in MODES.map(|mode| (mode, 40)).into_iter().chain([(Mode::StreamOnce, 1)]) {
                let result = pair.extract(&options(mode, reads));
                assert_eq!(
                    result.err(),
                    Some(Error::OutOfRange),
                    "{rows}×{cols} of {entry:e}, {mode:?} {reads}"
                );
            }
        }
    }
}

#[test]
fn the_largest_singular_value_that_f32_holds_is_kept() {
    for (mode, reads) in MODES.map(|mode| (mode, 40)).into_iter().chain([(Mode::StreamOnce, 1)]) {
        let pair = Pair::of(&DMatrix::from_element(64, 64, 5e36));
        let found = pair.extract(&options(mode, reads)).unwrap();
        assert_finite("5e36", &found);
        assert!((found.singular_values[0] / 3.2e38 - 1.0).abs() < 1e-4, "{:?}", found.singular_values);
    }
}

#[test]
fn success_is_finite_wherever_entries_lie() {
    let mut normal = Normal::new(77);
    let (mut fine, mut refused) = (0, 0);
    for round in 0..400 {
        let (rows, cols) = ([1, 3, 17, 40, 64][round % 5], [1, 2, 16, 33, 64][round / 5 % 5]);
        // From subnormal to the largest, spread over up to 76 decades.
        let (middle, spread) = (normal.draw() * 30.0, f64::from(round as u32 % 7) * 4.0);
        let matrix = DMatrix::from_fn(rows, cols, |_, _| {
            let size = 10_f64.powf((middle + spread * normal.draw()).clamp(-44.0, 38.4));
            (normal.draw() * size).clamp(f64::from(f32::MIN), f64::from(f32::MAX))
        });
        let pair = Pair::of(&matrix);
        for (mode, reads) in MODES.map(|mode| (mode, 40)).into_iter().chain([(Mode::StreamOnce, 1)]) {
            match pair.extract(&options(mode, reads)) {
                Ok(found) => {
                    assert_finite(&format!("round {round}, {mode:?}"), &found);
                    fine += 1;
                }
                Err(Error::OutOfRange) => refused += 1,
                Err(error) => panic!("round {round}, {mode:?}: {error}"),
            }
        }
    }
    assert!(fine > 800 && refused > 50, "{fine} extracted, {refused} refused");
}

#[test]
fn scales_of_columns_that_take_a_out_of_range_are_refused() {
    let pair = Pair::of(&with_spectrum(30, 20, 5, |_| 1e12));
    let mut channels = [1.0_f32; 20];
    channels[3] = 1e-38;
    for mode in MODES {
        // The direction of column 3 is as good as zero once it is scaled, which its rounding is not.
        let result = pair.extract_weighed(&options(mode, 40), &channels, || usize::MAX);
        match result {
            Ok(found) => assert_finite("weighed", &found),
            Err(error) => assert_eq!(error, Error::OutOfRange),
        }
    }
}

#[test]
fn combining_directions_further_apart_than_f32_reaches_gives_numbers() {
    let shape = Shape { rows: 24, cols: 20 };
    let directions = with_spectrum(24, 4, 1, |_| 1.0);
    let others = with_spectrum(20, 4, 2, |_| 1.0).transpose();
    for large in [1e10_f32, 1e30, 1e36] {
        for small in [1e-38_f32, 1e-30, 1e-10] {
            // B·A with one direction of `large²` or less and one of `small²`.
            let column = |j: usize, size: f32| directions.column(j) * f64::from(size);
            let b = DMatrix::from_columns(&[column(0, 1.0), column(1, small)]);
            let row = |j: usize, size: f32| others.row(j) * f64::from(size);
            let a = DMatrix::from_rows(&[row(0, large), row(1, small)]);
            let (a, b) = (f32_bytes(&a), f32_bytes(&b));
            let view =
                Adapter::new(shape, 2, Rows::new(Dtype::F32, &a), Rows::new(Dtype::F32, &b), 1.0).unwrap();
            let mut scratch = vec![f32::NAN; combine_scratch(shape, 2, 2).count().unwrap()];
            let (mut a, mut b, mut sigma) = (vec![7.0; 40], vec![7.0; 48], vec![7.0; 2]);
            let combined =
                combine(Kernel::detect(), &[(view, 1.0)], 2, &mut a, &mut b, &mut sigma, &mut scratch)
                    .unwrap();
            let outputs = a.iter().chain(&b).chain(&sigma);
            assert!(outputs.clone().all(|x| x.is_finite()), "{large:e} beside {small:e}: {sigma:?}");
            assert!((sigma[0] / large - 1.0).abs() < 1e-4, "{sigma:?}");
            assert!((combined.energy() - 1.0).abs() < 1e-5, "{combined:?}");
        }
    }
}
