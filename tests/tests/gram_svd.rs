//! Eigenpairs of Gram matrices: residual, orthogonality and order, with every kernel, on matrices that break such routines.

use nalgebra::DMatrix;
use phlora_core::{Error, Kernel, gram_svd, gram_svd_scratch};
use phlora_tests::{
    matrix::{Normal, from_columns, singular_values, with_spectrum},
    tolerance,
};

const EPSILON: f64 = f32::EPSILON as f64;

/// The Gram matrix of `y` in f32, its lower triangle spoilt, with `ld` elements from row to row.
fn gram_of(y: &DMatrix<f64>, ld: usize) -> (Vec<f32>, DMatrix<f64>) {
    let size = y.ncols();
    let exact = y.transpose() * y;
    let mut gram = vec![f32::NAN; size * ld];
    for i in 0..size {
        for j in i..size {
            gram[i * ld + j] = exact[(i, j)] as f32;
        }
    }
    let rounded = DMatrix::from_fn(size, size, |i, j| f64::from(exact[(i, j)] as f32));
    (gram, rounded)
}

/// Decomposes YᵀY with every kernel, for all vectors and for a third of them.
fn check(name: &str, y: &DMatrix<f64>) {
    let size = y.ncols();
    let (gram, exact) = gram_of(y, size + 3);
    let unit = if exact.amax() > 0.0 { exact.amax() } else { 1.0 };
    for (kernel, count) in Kernel::available().flat_map(|kernel| [(kernel, size), (kernel, size.div_ceil(3))])
    {
        let name = format!("{name}, {size} columns, {count} vectors, {}", kernel.name());
        let (mut vectors, mut sigma) = (vec![f32::NAN; size * count], vec![f32::NAN; size]);
        let mut scratch = vec![f32::NAN; gram_svd_scratch(size).count().unwrap()];
        let found = gram_svd(kernel, &gram, size + 3, &mut vectors, &mut sigma, &mut scratch);
        assert!(found.expect(&name), "{name}");
        assert!(sigma.is_sorted_by(|x, y| x >= y) && sigma.iter().all(|&s| s >= 0.0), "{name}: {sigma:?}");
        let values: Vec<f64> = sigma.iter().map(|&sigma| f64::from(sigma).powi(2)).collect();
        let bound = size as f64 * EPSILON * values[0].max(unit);
        let lost = (values.iter().sum::<f64>() - exact.trace()).abs();
        assert!(
            lost <= tolerance::GRAM_RESIDUAL * bound * (size as f64).sqrt(),
            "{name}: {lost:e} of the trace"
        );
        let w = from_columns(size, count, &vectors);
        for (j, column) in w.column_iter().enumerate() {
            let residual = (&exact * column - column * values[j]).norm();
            assert!(
                residual <= tolerance::GRAM_RESIDUAL * bound,
                "{name}: residual {residual:e} of vector {j}"
            );
        }
        let loss = (w.transpose() * &w - DMatrix::<f64>::identity(count, count)).amax();
        assert!(loss <= tolerance::GRAM_COSINE, "{name}: WᵀW − I {loss:e}");
    }
}

#[test]
fn random_sizes() {
    let mut normal = Normal::new(1);
    for size in [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 48, 100, 129, 200] {
        check("random", &normal.matrix(size + 5, size));
    }
}

#[test]
fn spectra() {
    for decay in [0.0, 0.05, 0.3, 1.0] {
        check(&format!("decay {decay}"), &with_spectrum(96, 80, 80, |i| (-decay * i as f64).exp()));
    }
    check("clusters", &with_spectrum(96, 80, 80, |i| 1.0 / (1 + i / 16) as f64));
    check("rank 5", &with_spectrum(96, 80, 5, |i| if i < 5 { 1.0 / (i + 1) as f64 } else { 0.0 }));
    check("one huge direction", &with_spectrum(96, 80, 80, |i| if i == 0 { 1e5 } else { 1.0 }));
}

#[test]
fn odd_matrices() {
    let mut normal = Normal::new(2);
    check("zero", &DMatrix::zeros(9, 6));
    check("identity", &DMatrix::identity(40, 40));
    check("ones", &DMatrix::from_element(40, 24, 1.0));
    check("one entry", &DMatrix::from_fn(12, 12, |i, j| f64::from(u8::from((i, j) == (3, 7)))));
    check(
        "diagonal",
        &DMatrix::from_fn(30, 30, |i, j| if i == j { 1.0 / (1 + i * 7 % 30) as f64 } else { 0.0 }),
    );
    check("sines", &DMatrix::from_fn(90, 60, |i, j| ((i * (j + 1)) as f64 * 0.01).sin()));
    for exponent in [-20, -18, -15, -8, 8, 15, 18] {
        check(&format!("times 1e{exponent}"), &(normal.matrix(30, 20) * 10.0_f64.powi(exponent)));
    }
    let mut missing = normal.matrix(50, 40);
    missing.columns_mut(20, 8).fill(0.0);
    check("columns of zeros", &missing);
}

/// A few large directions, over all columns or a column each, above noise from nothing to what rounding hides.
#[test]
fn noise_of_any_size() {
    let mut normal = Normal::new(3);
    for size in [8, 16, 24, 40] {
        for noise in [0.0, 1e-38, 1e-30, 1e-20, 1e-14, 1e-10, 1e-7, 1e-4] {
            for (large, spread) in [(1, true), (1, false), (3, true), (3, false)] {
                let right = if spread { normal.matrix(large, size) } else { DMatrix::identity(large, size) };
                let y =
                    normal.matrix(2 * size, large) * right + normal.matrix(2 * size, size) * f64::sqrt(noise);
                check(&format!("{large} above {noise:e}, spread {spread}"), &y);
            }
        }
    }
}

#[test]
fn small_values_of_a_graded_matrix_are_accurate() {
    let graded = |i: usize| (-0.35 * i as f64).exp();
    let mut normal = Normal::new(4);
    // Columns of unit length times 1 to 1e-6, in a mixed order: the scaled matrix is well conditioned.
    let mut y = normal.matrix(400, 40);
    for (j, mut column) in y.column_iter_mut().enumerate() {
        let scale = graded(j * 17 % 40) / column.norm();
        column *= scale;
    }
    let (gram, exact) = gram_of(&y, 40);
    let reference = singular_values(&y);
    assert!(reference[39] < 2e-6 * reference[0] && exact.amax() > 0.5);
    for kernel in Kernel::available() {
        let (mut sigma, mut scratch) = ([0.0; 40], vec![0.0; gram_svd_scratch(40).count().unwrap()]);
        assert!(gram_svd(kernel, &gram, 40, &mut [], &mut sigma, &mut scratch).unwrap());
        for (sigma, reference) in sigma.iter().zip(&reference) {
            let error = (f64::from(*sigma) / reference - 1.0).abs();
            assert!(error < tolerance::GRADED_VALUES, "{}: {sigma} for {reference}", kernel.name());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_untouched() {
    let needed = gram_svd_scratch(4).count().unwrap();
    let mut scratch = vec![7.0; needed];
    let gram = [1.0; 16];
    let mut call = |gram: &[f32], ld, count, len: usize| {
        let (mut vectors, mut sigma) = ([7.0; 12], [7.0; 4]);
        let outcome =
            gram_svd(Kernel::detect(), gram, ld, &mut vectors[..count], &mut sigma, &mut scratch[..len]);
        (outcome, vectors.iter().chain(&sigma).all(|&x| x == 7.0))
    };
    assert_eq!(call(&gram, 4, 12, needed - 1), (Err(Error::ScratchTooSmall { needed }), true));
    assert_eq!(call(&gram[..15], 4, 12, needed), (Err(Error::OutputLength { expected: 16 }), true));
    assert_eq!(call(&gram, 3, 12, needed), (Err(Error::OutputLength { expected: 16 }), true));
    assert_eq!(call(&gram, 4, 11, needed), (Err(Error::OutputLength { expected: 8 }), true));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut gram = gram;
        gram[6] = bad;
        assert_eq!(call(&gram, 4, 12, needed), (Err(Error::OutOfRange), true));
        gram.swap(6, 9);
        assert!(call(&gram, 4, 12, needed).0.is_ok(), "the lower triangle is not read");
    }
}

#[test]
fn nothing_has_no_values() {
    assert_eq!(gram_svd(Kernel::detect(), &[], 0, &mut [], &mut [], &mut []), Ok(true));
}
