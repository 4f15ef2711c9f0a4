//! The extractor: success is finite, cuts do not matter, and where the numbers are moderate the factors are those of f64.

use crate::draw::Draw;
use nalgebra::DMatrix;
use phlora_core::{Dtype, Error, Goal, Kernel, Mode, Options, Rows, Shape, decode, encode};
use phlora_tests::drive::{Factors, Pair};
use phlora_tests::matrix::{from_rows, singular_values};
use phlora_tests::tolerance;

/// One extraction, in two cuts.
///
/// # Panics
/// When it is not as it should be.
pub fn run(data: &[u8]) {
    let mut draw = Draw::new(data);
    let dtypes = match draw.below(4) {
        0 | 1 => [Dtype::F32; 2],
        2 => [Dtype::Bf16; 2],
        _ => [draw.pick(Dtype::ALL), draw.pick(Dtype::ALL)],
    };
    let unit = dtypes[0].block_len().max(dtypes[1].block_len());
    let cols = if unit > 1 { unit * (1 + draw.below(256 / unit)) } else { 1 + draw.below(draw_range(&mut Draw::new(&data[..data.len().min(1)]))) };
    let rows = match draw.below(8) {
        0 => 1 + draw.below(200),
        _ => 1 + draw.below(40),
    };
    let shape = Shape { rows, cols };
    let options = options(&mut draw);
    let (pair, moderate) = sides(shape, dtypes, &mut draw);
    let kernels: Vec<_> = Kernel::available().collect();
    let kernel = draw.pick(&kernels);
    let whole = pair.extract_in_blocks(&options, kernel, || usize::MAX);
    let cut = 1 + draw.below(rows);
    let blocks = pair.extract_in_blocks(&options, kernel, || cut);
    match (&whole, &blocks) {
        (Ok(whole), Ok(blocks)) => same(whole, blocks),
        (Err(whole), Err(blocks)) => {
            assert_eq!(whole, blocks, "the error in blocks of {cut}");
            let refused = matches!(whole, Error::ScratchTooSmall { .. } | Error::TooFewReads { .. } | Error::TooLarge);
            assert!(!moderate || refused, "{whole:?} for {shape:?} {options:?}");
            return;
        }
        _ => panic!("whole: {whole:?}, in blocks of {cut}: {blocks:?}"),
    }
    let found = whole.expect("it is");
    sound(&found, &options);
    if moderate {
        near(&pair, &found, &options);
    }
}

/// Mostly small matrices.
fn draw_range(draw: &mut Draw<'_>) -> usize {
    if draw.rarely(6) { 300 } else { 40 }
}

fn options(draw: &mut Draw<'_>) -> Options {
    let mode = draw.pick(&[Mode::Auto, Mode::Exact, Mode::MultiRead, Mode::StreamOnce]);
    let goal = match draw.below(6) {
        0 => Goal::Energy(f64::from(draw.byte()) / 255.0),
        1 => Goal::NoiseFloor,
        _ => Goal::Fixed,
    };
    Options {
        rank: 1 + draw.below(12),
        goal,
        mode,
        tolerance: draw.pick(&[1e-3, 1e-3, 0.0, 1e-9, 0.5]),
        max_reads: draw.pick(&[40, 40, 1, 2, 3, 5]),
        max_scratch: if draw.rarely(8) { draw.below(20_000) } else { usize::MAX },
        width: draw.pick(&[0, 8, 16]),
        parts: 1 + draw.below(4),
    }
}

/// Both sides, and whether their difference is of numbers that nothing can be wrong with.
fn sides(shape: Shape, dtypes: [Dtype; 2], draw: &mut Draw<'_>) -> (Pair, bool) {
    let bytes = |dtype: Dtype| dtype.row_bytes(shape.cols).expect("whole blocks") * shape.rows;
    let plain = dtypes.iter().all(|dtype| !dtype.is_block());
    let count = shape.rows * shape.cols;
    let style = draw.below(4);
    if style == 0 || !plain {
        let [base, tuned] = dtypes.map(|dtype| draw.fill(bytes(dtype)));
        return (Pair { shape, dtypes, base, tuned }, false);
    }
    let mut normal = draw.normal();
    let exponent = f64::from(draw.byte()) / 255.0;
    let values = |normal: &mut phlora_tests::matrix::Normal| -> Vec<f32> {
        match style {
            // From subnormal to the largest.
            1 => (0..count)
                .map(|_| (normal.draw() * 10_f64.powf((90.0 * exponent - 50.0 + 8.0 * normal.draw()).clamp(-46.0, 39.0))).clamp(-3.4e38, 3.4e38) as f32)
                .collect(),
            // A few directions and noise.
            2 => {
                let rank = 1 + (exponent * 5.0) as usize;
                let (b, a) = (normal.matrix(shape.rows, rank), normal.matrix(rank, shape.cols));
                let product = b * a + normal.matrix(shape.rows, shape.cols) * exponent * 1e-2;
                product.transpose().iter().map(|x| *x as f32).collect()
            }
            _ => (0..count).map(|_| (normal.draw() * 10_f64.powf(16.0 * exponent - 8.0)) as f32).collect(),
        }
    };
    let zero = draw.rarely(3);
    let sides = dtypes.map(|dtype| {
        let mut out = vec![0; bytes(dtype)];
        let values = values(&mut normal);
        if encode(&values, dtype, &mut out).is_err() { out = draw.fill(bytes(dtype)) }
        out
    });
    let [mut base, tuned] = sides;
    if zero {
        base.fill(0);
    }
    let encoded = dtypes.iter().all(|dtype| dtype.is_encoded());
    let finite = encoded && dtypes.iter().zip([&base, &tuned]).all(|(dtype, bytes)| phlora_core::all_finite(Rows::new(*dtype, bytes)));
    (Pair { shape, dtypes, base, tuned }, style >= 2 && finite)
}

fn same(x: &Factors, y: &Factors) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&x.a), bits(&y.a), "lora_a");
    assert_eq!(bits(&x.b), bits(&y.b), "lora_b");
    assert_eq!(bits(&x.singular_values), bits(&y.singular_values), "singular values");
    assert_eq!(format!("{:?}", x.report), format!("{:?}", y.report));
}

/// What holds of every success.
fn sound(found: &Factors, options: &Options) {
    let outputs = [&found.a, &found.b, &found.singular_values];
    assert!(outputs.into_iter().flatten().all(|x| x.is_finite()), "{options:?}: {:?}", found.singular_values);
    let report = found.report;
    assert!([report.kept, report.delta.sum_squares, report.energy()].iter().all(|x| x.is_finite() && *x >= 0.0), "{report:?}");
    assert!(report.kept <= report.delta.sum_squares * 1.001, "{report:?}");
    assert!(found.singular_values.is_sorted_by(|x, y| x >= y), "{:?}", found.singular_values);
    assert!(report.rank <= options.rank, "{report:?}");
}

/// Against the decomposition in f64.
fn near(pair: &Pair, found: &Factors, options: &Options) {
    let Shape { rows, cols } = pair.shape;
    let side = |dtype: Dtype, bytes: &[u8]| {
        let mut values = vec![0.0; rows * cols];
        decode(Rows::new(dtype, bytes), &mut values).expect("the length fits");
        values
    };
    let (base, tuned) = (side(pair.dtypes[0], &pair.base), side(pair.dtypes[1], &pair.tuned));
    let delta: Vec<f32> = tuned.iter().zip(&base).map(|(tuned, base)| tuned - base).collect();
    let delta: DMatrix<f64> = from_rows(rows, cols, &delta);
    let total = delta.norm_squared();
    if total == 0.0 || rows.min(cols) > 64 {
        return;
    }
    let report = found.report;
    assert!((report.delta.sum_squares / total - 1.0).abs() < 1e-4, "{report:?}, not {total}");
    let rest = (&delta - found.product(pair.shape)).norm_squared() / total;
    let exact = singular_values(&delta);
    let best: f64 = exact.iter().skip(report.rank).map(|sigma| sigma * sigma).sum::<f64>() / total;
    assert!(rest >= best - 1e-5, "{rest} is left, less than is possible: {best}");
    let honest = (1.0 - rest - report.energy()).abs();
    assert!(honest <= 2.0 * tolerance::HONEST_ENERGY, "energy off by {honest:e}: {report:?} {options:?} {:?}", pair.shape);
    if options.mode == Mode::Exact {
        assert!(rest <= best + 1e-5, "{rest} is left of {best}: {options:?}");
        let unit = exact[0] * rows.max(cols) as f64 * f64::from(f32::EPSILON);
        for (found, exact) in found.singular_values.iter().zip(&exact) {
            let error = (f64::from(*found) - exact).abs();
            assert!(error <= tolerance::SVD_VALUES * unit, "σ {found} is off by {error:e}");
        }
    }
}
