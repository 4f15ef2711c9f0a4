//! The thin product of any matrix.

use phlora_core::{
    Error,
    operations::{Operations, Strided},
};
use phlora_tests::{sets::kernels, tolerance};

use crate::support::deviates;

/// Runs C += A·X and checks every element against the bound of the module's documentation.
fn check_product<const W: usize>(rows: usize, depth: usize, transposed: bool) {
    let (row, col) = if transposed { (1, rows + 3) } else { (depth + 5, 1) };
    let data = deviates(1, rows * depth + 5 * rows + 3 * depth + 8);
    let a = Strided { data: &data, row, col };
    let x = deviates(2, depth * W);
    let start = deviates(3, rows * W);
    for kernel in kernels() {
        let mut c = [start.as_slice(), &[f32::NAN; 7]].concat();
        kernel.product::<W>(a, rows, depth, &x, &mut c).unwrap();
        for i in 0..rows {
            for j in 0..W {
                let (mut exact, mut size) = (f64::from(start[i * W + j]), f64::from(start[i * W + j]).abs());
                for k in 0..depth {
                    let term = f64::from(data[i * row + k * col]) * f64::from(x[k * W + j]);
                    exact += term;
                    size += term.abs();
                }
                let unit = f64::from(f32::EPSILON) / 2.0;
                let bound = tolerance::PRODUCT_TERMS * (depth + 1) as f64 * unit * size;
                let error = (f64::from(c[i * W + j]) - exact).abs();
                assert!(
                    error <= bound,
                    "{} {rows}×{depth}·{W} at {i},{j}: {error:e} > {bound:e}",
                    kernel.name()
                );
            }
        }
        assert!(c[rows * W..].iter().all(|x| x.is_nan()), "nothing is written behind C");
    }
}

#[test]
fn products_stay_within_the_bound() {
    for rows in [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 24, 25, 31, 48, 53] {
        for depth in [0, 1, 2, 7, 16, 129] {
            for transposed in [false, true] {
                check_product::<8>(rows, depth, transposed);
                check_product::<16>(rows, depth, transposed);
            }
        }
    }
}

#[test]
fn a_product_of_nothing_computes_no_address() {
    let far = Strided { data: &[], row: usize::MAX / 2, col: 1 };
    for kernel in kernels() {
        let mut c = [7.0; 8 * 8];
        kernel.product::<8>(far, 8, 0, &[], &mut c).unwrap();
        kernel.product::<8>(far.transposed(), 0, 8, &[0.0; 64], &mut c).unwrap();
        assert!(c.iter().all(|&c| c == 7.0), "{}", kernel.name());
    }
}

#[test]
fn products_do_not_depend_on_how_rows_are_grouped() {
    let (rows, depth) = (37, 50);
    let (data, x) = (deviates(4, rows * depth), deviates(5, depth * 8));
    for kernel in kernels() {
        let mut whole = vec![0.0; rows * 8];
        kernel.product::<8>(Strided::row_major(&data, depth), rows, depth, &x, &mut whole).unwrap();
        for group in [1, 5, 24] {
            let mut parts = vec![0.0; rows * 8];
            for first in (0..rows).step_by(group) {
                let count = group.min(rows - first);
                let a = Strided::row_major(&data[first * depth..], depth);
                // The depth in two halves as well: sums go on where they stopped.
                for (start, len) in [(0, 20), (20, depth - 20)] {
                    let a = Strided { data: &a.data[start..], ..a };
                    kernel.product::<8>(a, count, len, &x[start * 8..], &mut parts[first * 8..]).unwrap();
                }
            }
            assert_eq!(whole, parts, "{} in groups of {group}", kernel.name());
        }
    }
}

/// In every profile: what is unsafe trusts the check.
#[test]
fn operands_that_are_too_short_are_refused() {
    for kernel in kernels() {
        let product =
            |a: Strided<'_>, rows, depth, x: &[f32]| kernel.product::<8>(a, rows, depth, x, &mut [1.0; 16]);
        let refused = Err(Error::Operands);
        assert_eq!(product(Strided::row_major(&[1.0; 6], 3), 2, 3, &[1.0; 24]), Ok(()));
        assert_eq!(product(Strided::row_major(&[1.0; 5], 3), 2, 3, &[1.0; 24]), refused);
        assert_eq!(product(Strided::row_major(&[1.0; 6], 3), 2, 3, &[1.0; 23]), refused);
        assert_eq!(product(Strided { data: &[1.0], row: usize::MAX, col: 1 }, 3, 1, &[1.0; 8]), refused);
    }
}
