//! One-sided Jacobi against LAPACK's scaled residual bounds, with the edge values that break such routines.

use nalgebra::DMatrix;
use phlora_core::{Error, Kernel, Sweeps, jacobi_svd};
use phlora_tests::{
    matrix::{Normal, from_columns, singular_values, with_spectrum},
    tolerance,
};

const EPSILON: f64 = f32::EPSILON as f64;

/// Decomposes with every kernel and checks residual, orthogonality, order and values.
fn check(name: &str, matrix: &DMatrix<f64>) {
    let (m, n) = matrix.shape();
    let rounded: Vec<f32> = matrix.iter().map(|&x| x as f32).collect();
    let exact = from_columns(m, n, &rounded);
    let largest = exact.amax();
    let size = m.max(n).max(1) as f64;
    for kernel in Kernel::available() {
        let (mut a, mut sigma, mut v) = (rounded.clone(), vec![f32::NAN; n], vec![f32::NAN; n * n]);
        let svd = jacobi_svd(kernel, m, &mut a, &mut sigma, Some(&mut v), Sweeps::default()).expect(name);
        assert!(svd.converged, "{name}: {svd:?}");
        assert!(sigma.is_sorted_by(|x, y| x >= y), "{name}: {sigma:?}");
        assert_eq!(svd.rank, sigma.iter().filter(|&&s| s > 0.0).count(), "{name}");
        if largest == 0.0 {
            assert_eq!(svd.rank, 0, "{name}");
            continue;
        }
        let (u, v) = (from_columns(m, n, &a), from_columns(n, n, &v));
        let values: Vec<f64> = sigma.iter().map(|&s| f64::from(s) * f64::from(svd.scale)).collect();
        let mut scaled = u.clone();
        for (j, mut column) in scaled.column_iter_mut().enumerate() {
            column *= values[j] / largest;
        }
        let unit = &exact / largest;
        // Entries below the smallest normal number carry an absolute error of half a unit in their place.
        let floor = f64::from(f32::MIN_POSITIVE) * EPSILON / largest * (m as f64 * n as f64).sqrt();
        let residual = (&unit - &scaled * v.transpose()).norm();
        assert!(
            residual <= tolerance::SVD_RESIDUAL * size * EPSILON * unit.norm() + floor,
            "{name} {}: residual {residual:e}",
            kernel.name()
        );
        let identity = DMatrix::<f64>::identity(n, n);
        let loss = (v.transpose() * &v - &identity).amax();
        assert!(loss <= tolerance::SVD_ORTHOGONALITY * size * EPSILON, "{name}: VᵀV − I {loss:e}");
        // Columns with a singular value at rounding level are only as orthogonal as what they came from.
        let clear = values.iter().filter(|&&s| s > size * EPSILON * values[0]).count();
        let u = u.columns(0, clear);
        let loss = (u.transpose() * u - identity.view((0, 0), (clear, clear))).amax();
        assert!(loss <= tolerance::SVD_ORTHOGONALITY * size * EPSILON, "{name}: UᵀU − I {loss:e}");
        for (i, (value, reference)) in values.iter().zip(singular_values(&unit)).enumerate() {
            let error = (value / largest - reference).abs() / unit.norm();
            assert!(error <= tolerance::SVD_VALUES * size * EPSILON, "{name}: σ{i} off by {error:e}");
        }
    }
}

#[test]
fn random_shapes() {
    let mut normal = Normal::new(1);
    for (m, n) in [(1, 1), (2, 1), (3, 3), (7, 5), (33, 32), (64, 64), (100, 17), (257, 96), (512, 192)] {
        check(&format!("{m}×{n}"), &normal.matrix(m, n));
    }
}

#[test]
fn empty_shapes() {
    for (rows, cols) in [(0, 0), (5, 0)] {
        let mut sigma = vec![1.0; cols];
        let svd = jacobi_svd(Kernel::detect(), rows, &mut [], &mut sigma, None, Sweeps::default()).unwrap();
        assert_eq!(svd.rank, 0);
        assert!(sigma.iter().all(|&s| s == 0.0));
    }
}

#[test]
fn edge_values() {
    let mut normal = Normal::new(4);
    check("zero", &DMatrix::zeros(9, 6));
    check("identity", &DMatrix::identity(20, 20));
    check("ones: rank 1, equal columns", &DMatrix::from_element(30, 12, 1.0));
    check("ones, as many columns as rows", &DMatrix::from_element(3, 3, 1.0));
    check(
        "opposite columns",
        &DMatrix::from_fn(9, 4, |i, j| if j % 2 == 0 { i as f64 } else { -(i as f64) }),
    );
    check(
        "half of the columns are zero",
        &DMatrix::from_fn(131, 129, |i, j| f64::from(u8::from(j % 2 == 0)) * normal_at(i, j)),
    );
    check("one entry", &DMatrix::from_fn(10, 10, |i, j| f64::from(u8::from(i == 7 && j == 2))));
    let mut duplicates = normal.matrix(40, 10);
    for j in 5..10 {
        let copy = duplicates.column(j - 5).clone_owned();
        duplicates.set_column(j, &copy);
    }
    check("duplicate columns", &duplicates);
    check("a zero column", &DMatrix::from_fn(20, 8, |i, j| if j == 3 { 0.0 } else { (i * 8 + j) as f64 }));
    check("near overflow", &(normal.matrix(24, 16) * 5e37));
    check("near underflow", &(normal.matrix(24, 16) * 1e-36));
    check("subnormal", &(normal.matrix(24, 16) * 1e-41));
    check("equal singular values", &with_spectrum(40, 24, 5, |_| 3.0));
    check("graded over 1e12", &with_spectrum(48, 24, 6, |i| 10_f64.powf(-(i as f64) / 2.0)));
    check(
        "graded columns",
        &DMatrix::from_fn(30, 12, |i, j| normal_at(i, j) * 10_f64.powi(-2 * i32::try_from(j).unwrap())),
    );
    check("one huge direction", &with_spectrum(64, 32, 7, |i| if i == 0 { 1e6 } else { 1.0 }));
}

fn normal_at(i: usize, j: usize) -> f64 {
    Normal::new((i * 100 + j) as u64 + 9).draw()
}

#[test]
fn small_singular_values_of_graded_columns_keep_their_digits() {
    // Columns scaled from 1 to 1e-30: the condition number lies in the scaling, which Jacobi does not feel.
    let mut normal = Normal::new(8);
    let well = normal.matrix(60, 11);
    let matrix = DMatrix::from_fn(60, 11, |i, j| {
        f64::from((well[(i, j)] * 10_f64.powi(-3 * i32::try_from(j).unwrap())) as f32)
    });
    let mut a: Vec<f32> = matrix.iter().map(|&x| x as f32).collect();
    let mut sigma = vec![0.0; 11];
    let svd = jacobi_svd(Kernel::detect(), 60, &mut a, &mut sigma, None, Sweeps::default()).unwrap();
    assert!(svd.converged);
    // Each value is near the length of its column orthogonal to the longer ones: QR in f64 knows it.
    let r = matrix.clone().qr().r();
    for (j, &value) in sigma.iter().enumerate() {
        let expected = r[(j, j)].abs();
        let error = (f64::from(value) * f64::from(svd.scale) / expected - 1.0).abs();
        assert!(error < 1e-4, "σ{j}: {value:e} against {expected:e}");
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let kernel = Kernel::detect();
    let run = |a: &mut [f32], sigma: &mut [f32], v: Option<&mut [f32]>| {
        jacobi_svd(kernel, 3, a, sigma, v, Sweeps::default())
    };
    assert_eq!(run(&mut [0.0; 12], &mut [0.0; 4], None), Err(Error::Wide));
    assert_eq!(run(&mut [0.0; 5], &mut [0.0; 2], None), Err(Error::OutputLength { expected: 6 }));
    assert_eq!(
        run(&mut [0.0; 6], &mut [0.0; 2], Some(&mut [0.0; 3])),
        Err(Error::OutputLength { expected: 4 })
    );
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut a = [1.0, 2.0, 3.0, 4.0, bad, 6.0];
        let mut v = [7.0; 4];
        assert_eq!(run(&mut a, &mut [0.0; 2], Some(&mut v)), Err(Error::NonFinite { row: 1 }));
        assert!(v.iter().all(|&x| x == 7.0), "outputs are untouched");
        assert_eq!(a[..4], [1.0, 2.0, 3.0, 4.0]);
    }
}

#[test]
fn says_when_it_did_not_converge() {
    let mut a: Vec<f32> = Normal::new(10).matrix(50, 50).iter().map(|&x| x as f32).collect();
    let mut sigma = [0.0; 50];
    let sweeps = Sweeps { most: 1, ..Sweeps::default() };
    let svd = jacobi_svd(Kernel::detect(), 50, &mut a, &mut sigma, None, sweeps).unwrap();
    assert!(!svd.converged && svd.sweeps == 1 && svd.largest_cosine > 1e-3, "{svd:?}");
}
