//! Stored rows times a vector.

use phlora_core::{Dtype, Rows, decode, encode, operations::Operations};
use phlora_tests::{sets::kernels, tolerance};

use crate::support::{UNIT, blocks, deviates};

#[test]
fn stored_rows_times_a_vector_stay_within_the_bound_and_do_not_depend_on_their_neighbours() {
    let (mut x, mut matrix) = (Vec::new(), Vec::new());
    let floats = [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64];
    for dtype in floats.into_iter().chain(blocks(&["Q8_0", "Q4_0"])) {
        for cols in [1, 2, 3, 4, 8, 12, 15, 16, 17, 24, 31, 32, 33, 48, 64, 96, 100, 256, 320, 1000, 1056] {
            let Some(row_bytes) = dtype.row_bytes(cols) else { continue };
            for rows in [1, 2, 4, 5, 8, 15, 16, 17, 40] {
                x.clone_from(&deviates(10, cols));
                // Any bytes are rows; those of floats must not be NaN.
                let mut bytes = vec![0; rows * row_bytes];
                if dtype.is_block() {
                    for (i, byte) in bytes.iter_mut().enumerate() {
                        *byte =
                            (i * 37 + i / 7) as u8 & if i % dtype.block_bytes() < 2 { 0x3b } else { 0xff };
                    }
                } else {
                    encode(&deviates(11, rows * cols), dtype, &mut bytes).unwrap();
                }
                matrix.resize(rows * cols, 0.0);
                decode(Rows::new(dtype, &bytes), &mut matrix).unwrap();
                // One byte off, so that nothing is aligned, and guard bytes behind.
                let moved = [&[0xff], bytes.as_slice(), &[0xff; 8]].concat();
                for kernel in kernels() {
                    let mut out = vec![f32::NAN; rows];
                    kernel.dots(Rows::new(dtype, &moved[1..]), &x, &mut out).unwrap();
                    for (i, &got) in out.iter().enumerate() {
                        let terms = || {
                            matrix[i * cols..][..cols]
                                .iter()
                                .zip(&x)
                                .map(|(&a, &x)| f64::from(a) * f64::from(x))
                        };
                        let bound = tolerance::PRODUCT_TERMS
                            * cols as f64
                            * UNIT
                            * terms().map(f64::abs).sum::<f64>();
                        let error = (f64::from(got) - terms().sum::<f64>()).abs();
                        assert!(error <= bound, "{} {dtype:?} {rows}×{cols}: {error:e}", kernel.name());
                        let mut alone = [0.0];
                        kernel.dots(Rows::new(dtype, &moved[1 + i * row_bytes..]), &x, &mut alone).unwrap();
                        assert_eq!(
                            alone[0].to_bits(),
                            got.to_bits(),
                            "{} {dtype:?} {rows}×{cols}",
                            kernel.name()
                        );
                    }
                }
            }
        }
    }
}
