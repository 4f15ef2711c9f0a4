//! Shapes and sizes that no library writes: an error or a weight, never a panic.

use phlora_core::quantized::{
    Absmax, Awq, BnbFourBit, BnbInt8, FloatFormat, Floats, Fp8, Fp8Format, GlobalScale, Gptq, Int8, Mxfp4,
    Nvfp4, Packed, Quantized, Scales, Scheme,
};
use phlora_core::{Error, Shape};
use phlora_tests::matrix::Normal;

const fn f16(bytes: &[u8]) -> Floats<'_> {
    Floats { format: FloatFormat::F16, bytes }
}

/// Every scheme with sizes that a hostile configuration could name, and one buffer for all parts.
fn hostile(buffer: &[u8], sizes: [usize; 2], bits: u32) -> [Scheme<'_>; 10] {
    let [size, other] = sizes;
    let scales = Scales { values: f16(buffer), block: Shape { rows: size, cols: other } };
    let absmax =
        Absmax::Nested { codes: buffer, quant_map: buffer, absmax: buffer, block_size: other, offset: 0.0 };
    let part = Some(buffer);
    [
        Scheme::Fp8(Fp8 { weight: buffer, format: Fp8Format::E4M3, scales: Some(scales) }),
        Scheme::Fp8(Fp8 { weight: buffer, format: Fp8Format::E5M2, scales: None }),
        Scheme::Int8(Int8 { weight: buffer, scales, zero_points: part }),
        Scheme::Mxfp4(Mxfp4 { weight: buffer, scales: buffer }),
        Scheme::Nvfp4(Nvfp4 { weight: buffer, scales: buffer, global: GlobalScale::Times(1.0) }),
        Scheme::Packed(Packed { bits, weight: buffer, scales, zero_points: part, g_idx: part }),
        Scheme::BnbFourBit(BnbFourBit { weight: buffer, quant_map: buffer, block_size: size, absmax }),
        Scheme::BnbInt8(BnbInt8 { weight: buffer, scb: buffer }),
        Scheme::Gptq(Gptq {
            bits,
            qweight: buffer,
            qzeros: buffer,
            v2: false,
            scales: f16(buffer),
            group_size: size,
            g_idx: part,
        }),
        Scheme::Awq(Awq { qweight: buffer, qzeros: buffer, scales: f16(buffer), group_size: size }),
    ]
}

#[test]
fn hostile_shapes_and_sizes_never_panic() {
    const SIDES: [usize; 12] =
        [0, 1, 7, 8, 32, 96, 1 << 31, 1 << 32, 1 << 60, 1 << 61, usize::MAX / 8, usize::MAX];
    let mut normal = Normal::new(9);
    let buffer = super::schemes::bytes(&mut normal, 4096);
    for rows in SIDES {
        for cols in SIDES {
            for sizes in SIDES.map(|size| [size, SIDES[normal.below(12)]]) {
                let (len, bits) =
                    ([0, 4, 1024, 4096][normal.below(4)], [0, 2, 3, 4, 8, u32::MAX][normal.below(6)]);
                for scheme in hostile(&buffer[..len], sizes, bits) {
                    let Ok(matrix) = Quantized::new(Shape { rows, cols }, scheme) else { continue };
                    assert!(matrix.bytes_per_row() <= 3 * 4096 + 4096);
                    let mut out = vec![0.0; rows * cols];
                    assert_eq!(matrix.decode(0..rows, &mut out), Ok(()));
                }
            }
        }
    }
    let wide = Shape { rows: 1 << 40, cols: 1 << 40 };
    let weight = Fp8 { weight: &buffer, format: Fp8Format::E4M3, scales: None };
    assert_eq!(Quantized::new(wide, Scheme::Fp8(weight)).err(), Some(Error::TooLarge));
}
