//! Large matrices, of which the first read looks at some of the rows only: nothing may depend on which these are.

use nalgebra::DMatrix;
use phlora_core::{Delta, Error, Mode, Options, Plan};
use phlora_tests::{
    drive::Pair,
    matrix::{Normal, singular_values, with_spectrum},
    tolerance::{HONEST_ENERGY, MULTI_READ},
};

const ROWS: usize = 2100;
const COLS: usize = 48;

fn options(width: usize) -> Options {
    Options { rank: 6, mode: Mode::MultiRead, width, ..Options::default() }
}

fn decaying() -> DMatrix<f64> {
    with_spectrum(ROWS, COLS, 81, |i| 0.8_f64.powi(i32::try_from(i).unwrap()))
}

/// What is extracted keeps what it says, nearly the best.
fn assert_good(name: &str, delta: &DMatrix<f64>) {
    for width in [8, 16] {
        let pair = Pair::of(delta);
        let factors = pair.extract(&options(width)).unwrap();
        let (report, total) = (factors.report, delta.norm_squared());
        let measured = report.delta.sum_squares;
        assert!((measured - total).abs() <= 1e-6 * total, "{name}, width {width}: {measured} of {total}");
        let kept = 1.0 - (delta - factors.product(pair.shape)).norm_squared() / total;
        assert!((kept - report.energy()).abs() <= HONEST_ENERGY, "{name}, width {width}: {kept}, {report:?}");
        let best: f64 = singular_values(delta)[..6].iter().map(|sigma| sigma * sigma).sum::<f64>() / total;
        assert!(kept >= MULTI_READ * best, "{name}, width {width}: {kept} of {best}");
    }
}

#[test]
fn an_ordinary_difference() {
    assert_good("decaying", &decaying());
}

#[test]
fn few_rows_that_differ() {
    let mut normal = Normal::new(82);
    // One row, some that are hardly ever all chosen, and as many as columns and more.
    for count in [1, 5, 40, 120] {
        let mut delta = DMatrix::zeros(ROWS, COLS);
        for i in 0..count {
            let row = normal.matrix(1, COLS);
            delta.row_mut(i * (ROWS / count)).copy_from(&row);
        }
        assert_good(&format!("{count} rows"), &delta);
    }
}

#[test]
fn a_row_beyond_the_range_of_the_others() {
    // Too large for sums of products, wherever it lies.
    for row in [0, 1, 2, 3, 700, 2099] {
        let mut delta = decaying();
        delta.row_mut(row).scale_mut(1e9);
        assert_good(&format!("row {row} times 1e9"), &delta);
    }
    assert_good("all tiny", &(decaying() * 1e-12));
}

#[test]
fn every_row_is_measured() {
    for bad in [f32::NAN, f32::INFINITY] {
        for row in (0..ROWS).step_by(61) {
            let mut pair = Pair::of(&decaying());
            pair.tuned[(row * COLS + 7) * 4..][..4].copy_from_slice(&bad.to_le_bytes());
            for parts in [1, 4] {
                let options = Options { parts, ..options(8) };
                assert_eq!(pair.extract(&options), Err(Error::NonFinite { row }), "{bad}, {parts} parts");
            }
        }
    }
}

#[test]
fn measurements_are_of_all_rows_or_unknown() {
    let pair = Pair::of(&decaying());
    let plan = Plan::new(pair.shape, &options(8)).unwrap();
    let mut scratch = vec![f32::NAN; plan.scratch_len()];
    let mut extractor = plan.start(&mut scratch).unwrap();
    let mut known = Vec::new();
    while extractor.wants_pass() {
        known.push(extractor.delta());
        let (base, tuned) = pair.rows(0, ROWS);
        extractor.push(base, tuned).unwrap();
        extractor.end_pass().unwrap();
    }
    let last: Delta = extractor.delta().unwrap();
    assert_eq!(known[..2], [None, None], "before the first read, and after one of some rows");
    assert!(known[2..].iter().all(|delta| *delta == Some(last)), "{known:?}");
}

#[test]
fn a_limit_on_reads_is_kept() {
    let mut delta = DMatrix::zeros(ROWS, COLS);
    delta.row_mut(77).fill(1.0);
    for max_reads in 2..9 {
        for delta in [&delta, &decaying()] {
            let report = Pair::of(delta).extract(&Options { max_reads, ..options(8) }).unwrap().report;
            assert!(report.reads <= max_reads, "{report:?}");
        }
    }
}
