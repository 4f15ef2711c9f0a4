//! Vectors of f32: dot products, rotations, measurements.

use phlora_core::{Kernel, operations::Operations};
use phlora_tests::sets::kernels;

use crate::support::deviates;

#[test]
fn vector_routines_give_the_same_bits_everywhere() {
    for len in [0, 1, 31, 32, 33, 200] {
        let (x, y) = (deviates(8, len), deviates(9, len));
        let dot = Kernel::PORTABLE.dot(&x, &y);
        let exact: f64 = x.iter().zip(&y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        assert!((f64::from(dot) - exact).abs() <= 1e-5 * len as f64, "{len}");
        for kernel in kernels() {
            assert_eq!(kernel.dot(&x, &y).to_bits(), dot.to_bits());
        }
    }
}

#[test]
fn rotations_stay_within_the_bound() {
    for len in [0, 1, 3, 31, 32, 33, 200] {
        for angle in [0.0_f64, 1e-4, 0.6435, -0.78] {
            let (x, y) = (deviates(8, len), deviates(9, len));
            let (c, s) = (angle.cos() as f32, angle.sin() as f32);
            for kernel in kernels() {
                let mut turned = (x.clone(), y.clone());
                kernel.rotate(&mut turned.0, &mut turned.1, c, s);
                for i in 0..len {
                    let (a, b) = (f64::from(x[i]), f64::from(y[i]));
                    // The angle is what the sine says: its cosine is rounded.
                    let (s, c) = (f64::from(s), (1.0 - f64::from(s) * f64::from(s)).sqrt());
                    let bound = 4.0 * 2.0_f64.powi(-24) * (a.abs() + b.abs());
                    let off = (f64::from(turned.0[i]) - (c * a - s * b)).abs();
                    assert!(off <= bound, "{} {len} {angle}: {off} > {bound}", kernel.name());
                    let off = (f64::from(turned.1[i]) - (s * a + c * b)).abs();
                    assert!(off <= bound, "{} {len} {angle}: {off} > {bound}", kernel.name());
                }
            }
        }
    }
}
