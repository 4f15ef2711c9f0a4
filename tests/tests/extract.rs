//! The three modes against the optimum that an f64 decomposition knows.

use nalgebra::DMatrix;
use phlora_core::{Kernel, Mode, Options};
use phlora_tests::{
    drive::Pair,
    matrix::{Normal, best_energy, singular_values, with_spectrum},
    tolerance,
};

/// Extracts and checks what every mode owes: an honest energy, orthogonal factors with √Σ in each, values in
/// order, and at least `share` of the best energy. Returns kept energy over the optimum.
fn check(name: &str, delta: &DMatrix<f64>, options: &Options, share: f64) -> f64 {
    let pair = Pair::of(delta);
    let shape = pair.shape;
    let factors = pair.extract(options).expect(name);
    let report = factors.report;
    assert_eq!(report.rank, options.rank.min(shape.rows.min(shape.cols)), "{name}");
    let exact = delta.map(|x| f64::from(x as f32));
    let norm = exact.norm_squared();
    assert!(
        (report.delta.sum_squares / norm - 1.0).abs() < 1e-9,
        "{name}: ‖Δ‖² {}",
        report.delta.sum_squares
    );
    assert_eq!(f64::from(report.delta.max_abs), exact.amax(), "{name}");
    let left = (&exact - factors.product(shape)).norm_squared() / norm;
    let honest = (report.energy() - (1.0 - left)).abs();
    assert!(honest < tolerance::HONEST_ENERGY, "{name}: says {}, keeps {}", report.energy(), 1.0 - left);
    assert!(factors.singular_values.is_sorted_by(|x, y| x >= y), "{name}: {:?}", factors.singular_values);
    // Row j of A and column j of B both have the length √σⱼ.
    for (j, &sigma) in factors.singular_values.iter().enumerate() {
        let a: f64 = factors.a[j * shape.cols..][..shape.cols].iter().map(|&x| f64::from(x).powi(2)).sum();
        let b: f64 = factors.b[j..].iter().step_by(report.rank).map(|&x| f64::from(x).powi(2)).sum();
        let top = f64::from(factors.singular_values[0]);
        assert!((a - f64::from(sigma)).abs() <= 1e-4 * top, "{name}: ‖a{j}‖² {a:e} for σ {sigma:e}");
        assert!((b - f64::from(sigma)).abs() <= 1e-4 * top, "{name}: ‖b{j}‖² {b:e} for σ {sigma:e}");
    }
    let best = best_energy(&exact, report.rank);
    let reached = report.energy() / best;
    assert!(reached >= share, "{name}: keeps {} of the best {best}, {report:?}", report.energy());
    reached
}

type Spectrum = fn(usize) -> f64;

/// Spectra of differences: name, σ(i) for i from 0.
fn spectra() -> Vec<(&'static str, Spectrum)> {
    vec![
        ("fast decay", |i| 0.8_f64.powi(i32::try_from(i).unwrap())),
        ("slow decay", |i| 1.0 / ((i + 1) as f64).sqrt()),
        ("power law on a bulk", |i| 1.0 / (i + 1) as f64 + 0.02),
        ("exactly rank 5", |i| if i < 5 { 1.0 / (i + 1) as f64 } else { 0.0 }),
        ("one huge direction", |i| if i == 0 { 1e3 } else { 1.0 / (i + 1) as f64 }),
        ("two equal groups", |i| if i < 20 { 1.0 } else { 0.1 }),
    ]
}

#[test]
fn multi_read_keeps_the_optimum() {
    for (rows, cols) in [(192, 256), (256, 192), (300, 40), (40, 300)] {
        for (spectrum, sigma) in spectra() {
            let delta = with_spectrum(rows, cols, 11, sigma);
            for rank in [1, 4, 16] {
                for width in [8, 16] {
                    let options = Options { rank, width, mode: Mode::MultiRead, ..Options::default() };
                    check(
                        &format!("{spectrum}, {rows}×{cols}, rank {rank}, width {width}"),
                        &delta,
                        &options,
                        tolerance::MULTI_READ,
                    );
                }
            }
        }
    }
}

#[test]
fn multi_read_converges_on_every_spectrum_and_says_so() {
    for (spectrum, sigma) in spectra() {
        let pair = Pair::of(&with_spectrum(256, 320, 12, sigma));
        let report =
            pair.extract(&Options { rank: 8, mode: Mode::MultiRead, ..Options::default() }).unwrap().report;
        assert!(report.converged, "{spectrum}: {report:?}");
    }
    // A flat spectrum has no best directions: within a few reads there is nothing to converge to.
    let pair = Pair::of(&Normal::new(13).matrix(256, 256));
    let options = Options { rank: 16, max_reads: 3, mode: Mode::MultiRead, ..Options::default() };
    assert!(!pair.extract(&options).unwrap().report.converged);
}

#[test]
fn multi_read_on_tiny_and_thin_matrices() {
    let mut normal = Normal::new(14);
    for (rows, cols) in
        [(1, 1), (1, 9), (9, 1), (2, 3), (7, 7), (8, 8), (9, 17), (20, 20), (3, 500), (500, 3)]
    {
        let delta = normal.matrix(rows, cols);
        for rank in [1, 3, 100] {
            let options = Options { rank, mode: Mode::MultiRead, ..Options::default() };
            check(&format!("{rows}×{cols} rank {rank}"), &delta, &options, tolerance::MULTI_READ);
        }
    }
}

#[test]
fn exact_mode_is_optimal() {
    for (rows, cols) in [(64, 96), (96, 64), (1, 5), (5, 1), (33, 33)] {
        for (spectrum, sigma) in spectra() {
            let delta = with_spectrum(rows, cols, 15, sigma);
            for rank in [1, 8] {
                let options = Options { rank, mode: Mode::Exact, ..Options::default() };
                check(
                    &format!("exact, {spectrum}, {rows}×{cols}, rank {rank}"),
                    &delta,
                    &options,
                    1.0 - 1e-6,
                );
            }
        }
    }
}

#[test]
fn stream_once_keeps_most() {
    for (rows, cols) in [(192, 256), (256, 192), (300, 40), (40, 300), (5, 3)] {
        for (spectrum, sigma) in spectra() {
            let delta = with_spectrum(rows, cols, 16, sigma);
            for max_reads in [1, 2] {
                let options = Options { rank: 16, max_reads, mode: Mode::StreamOnce, ..Options::default() };
                let name = format!("stream, {max_reads} reads, {spectrum}, {rows}×{cols}");
                check(&name, &delta, &options, tolerance::STREAM_ONCE);
            }
        }
    }
}

#[test]
fn singular_values_are_those_of_the_difference() {
    let delta = with_spectrum(200, 240, 17, |i| 0.7_f64.powi(i32::try_from(i).unwrap()));
    let reference = singular_values(&delta);
    for mode in [Mode::Exact, Mode::MultiRead, Mode::StreamOnce] {
        let factors = Pair::of(&delta).extract(&Options { rank: 8, mode, ..Options::default() }).unwrap();
        for (i, (&value, best)) in factors.singular_values.iter().zip(&reference).enumerate() {
            assert!((f64::from(value) / best - 1.0).abs() < 2e-3, "{mode:?} σ{i}: {value} against {best}");
        }
    }
}

#[test]
fn scale_of_the_difference_does_not_matter() {
    let delta = with_spectrum(60, 80, 18, |i| 0.8_f64.powi(i32::try_from(i).unwrap()));
    for scale in [1e-38, 1e-30, 1e-8, 1e8, 1e18, 1e30] {
        for (mode, max_reads) in
            [(Mode::Exact, 1), (Mode::MultiRead, 32), (Mode::StreamOnce, 1), (Mode::StreamOnce, 2)]
        {
            let pair = Pair::of(&(&delta * scale));
            let factors = pair.extract(&Options { rank: 8, mode, max_reads, ..Options::default() }).unwrap();
            let ratio = factors.report.energy() / best_energy(&delta, 8);
            assert!((0.97..1.001).contains(&ratio), "{mode:?} × {scale:e}: {ratio} {:?}", factors.report);
            let left = (&delta * scale - factors.product(pair.shape)).norm_squared()
                / (&delta * scale).norm_squared();
            assert!((1.0 - left - factors.report.energy()).abs() < 1e-3, "{mode:?} × {scale:e}: {left}");
        }
    }
}

#[test]
fn rows_of_any_size_in_any_order_are_scaled_together() {
    let normal = with_spectrum(64, 24, 20, |i| 0.8_f64.powi(i32::try_from(i).unwrap()));
    for (first, rest) in [(1e-30, 1.0), (1e-38, 1e30), (1e30, 1e-10), (1.0, 1e30)] {
        let delta = DMatrix::from_fn(64, 24, |i, j| normal[(i, j)] * if i < 20 { first } else { rest });
        for (mode, max_reads) in
            [(Mode::Exact, 1), (Mode::MultiRead, 32), (Mode::StreamOnce, 1), (Mode::StreamOnce, 2)]
        {
            let options = Options { rank: 4, mode, max_reads, ..Options::default() };
            let report = Pair::of(&delta).extract(&options).unwrap().report;
            let best = best_energy(&(&delta / delta.amax()), 4);
            assert!(
                report.energy() >= tolerance::STREAM_ONCE * best,
                "{mode:?} {first:e} {rest:e}: {report:?}, {best}"
            );
        }
    }
}

#[test]
fn constant_and_repeated_rows_are_decomposed() {
    for (name, delta) in [
        ("constant", DMatrix::from_element(3, 3, 1.0)),
        ("one row", DMatrix::from_fn(40, 30, |i, j| if i == 17 { j as f64 + 1.0 } else { 0.0 })),
        ("repeated rows", DMatrix::from_fn(40, 30, |i, j| ((i % 4) * 7 + j % 5) as f64)),
    ] {
        for (mode, max_reads) in
            [(Mode::Exact, 1), (Mode::MultiRead, 32), (Mode::StreamOnce, 1), (Mode::StreamOnce, 2)]
        {
            let options = Options { rank: 8, mode, max_reads, ..Options::default() };
            check(&format!("{name} {mode:?}"), &delta, &options, 1.0 - 1e-5);
        }
    }
}

#[test]
fn a_difference_of_zero_gives_zero_factors() {
    for mode in [Mode::Exact, Mode::MultiRead, Mode::StreamOnce] {
        let factors = Pair::of(&DMatrix::zeros(20, 30))
            .extract(&Options { rank: 4, mode, ..Options::default() })
            .unwrap();
        assert!(
            factors.a.iter().chain(&factors.b).chain(&factors.singular_values).all(|&x| x == 0.0),
            "{mode:?}"
        );
        assert_eq!((factors.report.energy(), factors.report.delta.sum_squares), (1.0, 0.0));
        assert!(factors.report.converged);
    }
}

#[test]
fn kernels_agree() {
    let delta = with_spectrum(150, 130, 19, |i| 1.0 / (i + 1) as f64);
    let pair = Pair::of(&delta);
    for mode in [Mode::Exact, Mode::MultiRead, Mode::StreamOnce] {
        let options = Options { rank: 12, mode, ..Options::default() };
        let reference = pair.extract_in_blocks(&options, Kernel::PORTABLE, || 150).unwrap();
        for kernel in Kernel::available() {
            let factors = pair.extract_in_blocks(&options, kernel, || 150).unwrap();
            let difference = factors.report.energy() - reference.report.energy();
            assert!(difference.abs() < 1e-5, "{mode:?} {}: {difference:e}", kernel.name());
        }
    }
}

#[test]
fn sparse_rows_of_far_apart_sizes_keep_what_they_say() {
    // Equal singular values, others by far smaller, and columns of zeros: the basis is continued at random, and many
    // eigenvalues of the small problem are rounding.
    let mut random = Normal::new(3);
    for run in 0..10_000 {
        let (rows, cols) = (8 + random.below(17), 8 + random.below(17));
        let mut delta = DMatrix::zeros(rows, cols);
        let entries = 1 + random.below(12);
        for size in [1e-20, 1e-19, 1e-17, 1.24e-5, 1.0] {
            for _ in 0..entries {
                delta[(random.below(rows as u32), random.below(cols as u32))] = -size;
            }
        }
        let options = Options { rank: 12, mode: Mode::MultiRead, tolerance: 0.5, ..Options::default() };
        let pair = Pair::of(&delta);
        let factors = pair.extract_in_blocks(&options, Kernel::PORTABLE, || rows).unwrap();
        let left = (&delta - factors.product(pair.shape)).norm_squared() / delta.norm_squared();
        let honest = (factors.report.energy() - (1.0 - left)).abs();
        assert!(honest < tolerance::HONEST_OF_SPARSE, "run {run}: {rows}×{cols}, off by {honest:e}");
    }
}

/// Entry (i, j) of `rows` differences, given its uniform number.
type Entry = fn(usize, usize, f64) -> f64;

#[test]
fn odd_matrices_keep_what_they_say() {
    // Few rows, few columns, many equal singular values, whole bands of zeros, one direction far above all others.
    let kinds: [(&str, Entry); 7] = [
        ("one row", |i, _, x| if i == 1 { x } else { 0.0 }),
        ("five rows", |i, _, x| if i % 37 == 0 { x } else { 0.0 }),
        ("one column", |_, j, x| if j == 2 { x } else { 0.0 }),
        ("identity", |i, j, _| f64::from(u8::from(i == j))),
        ("equal singular values", |i, j, _| ((i + 1) as f64 * (j + 1) as f64 * 0.01).sin()),
        ("bands", |i, j, x| if (i / 8 + j / 8) % 3 == 0 { x } else { 0.0 }),
        ("huge sum", |i, j, x| 1e3 * (i as f64 * 0.7).sin() * (j as f64 * 0.3).cos() + 0.01 * x),
    ];
    for (rows, cols) in [(9, 260), (260, 9), (17, 257), (130, 129), (64, 300)] {
        for (kind, entry) in kinds {
            let mut random = Normal::new(5);
            let delta = DMatrix::from_fn(rows, cols, |i, j| entry(i, j, random.uniform() - 0.5));
            for scale in [1.0, 1e-30, 1e30] {
                for (rank, width) in [(1, 8), (5, 8), (8, 16), (16, 8)] {
                    let options = Options { rank, width, mode: Mode::MultiRead, ..Options::default() };
                    let name = format!("{kind}, {rows}×{cols}, times {scale:e}, rank {rank}, width {width}");
                    check(&name, &(scale * &delta), &options, tolerance::MULTI_READ);
                }
            }
        }
    }
}

#[test]
fn what_has_converged_is_near_the_best() {
    // Products of sines have many equal singular values, more than a block is wide: gains stop, and predictions fail.
    for (rows, cols) in [(17, 257), (40, 1100)] {
        for kind in [1, 8, 16, 30] {
            let frequency = 0.01 * (1.0 + 0.003 * f64::from(kind));
            let wave = |i: usize, j: usize| ((i + 1) as f64 * (j + 1) as f64 * frequency).sin();
            let pair = Pair::of(&DMatrix::from_fn(rows, cols, wave));
            for rank in [8, 16, 30] {
                let options = |mode, width| Options { rank, mode, width, ..Options::default() };
                let best = pair.extract(&options(Mode::Exact, 0)).unwrap().report.energy();
                for width in [8, 16] {
                    let report = pair.extract(&options(Mode::MultiRead, width)).unwrap().report;
                    let near = report.energy() >= 0.99 * best;
                    assert!(
                        report.converged && near,
                        "{rows} × {cols}, {kind}, {best} at rank {rank}: {report:?}"
                    );
                }
            }
        }
    }
}
