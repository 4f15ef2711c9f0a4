//! Schemes stored by rows, with random parts and odd sizes, against decoders that read bit by bit.

use phlora_core::Shape;
use phlora_core::quantized::{
    Absmax, BnbFourBit, BnbInt8, FloatFormat, Floats, Fp8, Fp8Format, GlobalScale, Int8, Mxfp4, Nvfp4,
    Packed, Scales, Scheme,
};
use phlora_tests::matrix::Normal;

use super::naive;

const FORMATS: [FloatFormat; 5] =
    [FloatFormat::F32, FloatFormat::F16, FloatFormat::Bf16, FloatFormat::E8M0, FloatFormat::E4M3];

pub fn bytes(normal: &mut Normal, len: usize) -> Vec<u8> {
    (0..len).map(|_| normal.below(256) as u8).collect()
}

/// Finite scales: random bytes with exponents of moderate size in the formats that have large ones.
pub fn scales(normal: &mut Normal, format: FloatFormat, len: usize) -> Vec<u8> {
    let mut scales = bytes(normal, len * format.bytes());
    match format {
        FloatFormat::F32 | FloatFormat::Bf16 => {
            scales.chunks_mut(format.bytes()).for_each(|scale| *scale.last_mut().unwrap() = 0x3c);
        }
        FloatFormat::F16 => scales.chunks_mut(2).for_each(|scale| scale[1] &= 0x9f),
        _ => {}
    }
    scales
}

/// Compares a scheme with `weight` of every row and column.
pub fn check(
    name: &str,
    (rows, cols): (usize, usize),
    scheme: Scheme<'_>,
    weight: impl Fn(usize, usize) -> f32,
) {
    let expected: Vec<f32> = (0..rows * cols).map(|i| weight(i / cols, i % cols)).collect();
    super::check(name, Shape { rows, cols }, scheme, &expected);
}

#[test]
fn fp8_and_int8_of_any_blocks() {
    let mut normal = Normal::new(1);
    for (rows, cols) in [(1_usize, 1_usize), (3, 7), (33, 50), (40, 128)] {
        for (block_rows, block_cols) in [(1, 1), (1, 16), (1, usize::MAX), (16, 5), (usize::MAX, usize::MAX)]
        {
            let across = cols.div_ceil(block_cols);
            let count = rows.div_ceil(block_rows) * across;
            let at = |row: usize, col: usize| row / block_rows * across + col / block_cols;
            let weight = bytes(&mut normal, rows * cols);
            let zeros = bytes(&mut normal, count);
            let signed = |bytes: &[u8], at: usize| f32::from(bytes[at].cast_signed());
            for format in FORMATS {
                let stored = scales(&mut normal, format, count);
                let values = Floats { format, bytes: &stored };
                let scale = |row, col| naive::float(values, at(row, col));
                let scales = Scales { values, block: Shape { rows: block_rows, cols: block_cols } };
                let name = format!("{rows}×{cols}, {format:?}, blocks {block_rows}×{block_cols}");
                let fp8 = Fp8 { weight: &weight, format: Fp8Format::E4M3, scales: Some(scales) };
                check(&name, (rows, cols), Scheme::Fp8(fp8), |row, col| {
                    naive::e4m3(weight[row * cols + col]) * scale(row, col)
                });
                let fp8 = Fp8 { format: Fp8Format::E5M2, ..fp8 };
                check(&name, (rows, cols), Scheme::Fp8(fp8), |row, col| {
                    naive::e5m2(weight[row * cols + col]) * scale(row, col)
                });
                let int8 = Int8 { weight: &weight, scales, zero_points: None };
                check(&name, (rows, cols), Scheme::Int8(int8), |row, col| {
                    signed(&weight, row * cols + col) * scale(row, col)
                });
                let int8 = Int8 { zero_points: Some(&zeros), ..int8 };
                check(&name, (rows, cols), Scheme::Int8(int8), |row, col| {
                    (signed(&weight, row * cols + col) - signed(&zeros, at(row, col))) * scale(row, col)
                });
            }
        }
    }
}

#[test]
fn mxfp4_and_nvfp4() {
    let mut normal = Normal::new(2);
    for (rows, cols) in [(1, 32), (5, 96), (37, 160)] {
        let weight = bytes(&mut normal, rows * cols / 2);
        let code = |row, col| naive::field(&weight, 4 * (row * cols + col), 4);
        let scales = bytes(&mut normal, rows * cols / 16);
        let exponents = &scales[..rows * cols / 32];
        check(
            "mxfp4",
            (rows, cols),
            Scheme::Mxfp4(Mxfp4 { weight: &weight, scales: exponents }),
            |row, col| {
                let scales = Floats { format: FloatFormat::E8M0, bytes: exponents };
                naive::e2m1(code(row, col)) * naive::float(scales, (row * cols + col) / 32)
            },
        );
        let scale = |row, col| naive::e4m3(scales[(row * cols + col) / 16]);
        let nvfp4 = Nvfp4 { weight: &weight, scales: &scales, global: GlobalScale::Over(7264.3) };
        check("nvfp4", (rows, cols), Scheme::Nvfp4(nvfp4), |row, col| {
            naive::e2m1(code(row, col)) * (scale(row, col) / 7264.3)
        });
        let nvfp4 = Nvfp4 { global: GlobalScale::Times(1.3e-4), ..nvfp4 };
        check("nvfp4", (rows, cols), Scheme::Nvfp4(nvfp4), |row, col| {
            let value = if code(row, col) == 8 { 0.0 } else { naive::e2m1(code(row, col)) };
            value * (scale(row, col) * 1.3e-4)
        });
    }
}

#[test]
fn packed_integers() {
    let mut normal = Normal::new(3);
    for (bits, (rows, cols), group) in [
        (4_usize, (1_usize, 1_usize), 1),
        (4, (19, 37), usize::MAX),
        (4, (33, 96), 32),
        (8, (7, 13), 5),
        (8, (9, 64), 16),
        (2, (35, 50), 10),
    ] {
        let (row_words, groups) = ((cols * bits).div_ceil(32), cols.div_ceil(group));
        let weight = bytes(&mut normal, 4 * rows * row_words);
        let zeros = bytes(&mut normal, 4 * (rows * bits).div_ceil(32) * groups);
        let permuted: Vec<usize> = (0..cols).map(|_| normal.below(groups as u32)).collect();
        let index: Vec<u8> = permuted.iter().flat_map(|&group| (group as u32).to_le_bytes()).collect();
        let unused = vec![255; 4 * cols];
        let stored = scales(&mut normal, FloatFormat::Bf16, rows * groups);
        let values = Floats { format: FloatFormat::Bf16, bytes: &stored };
        let code =
            |row: usize, col: usize| naive::field(&weight, 32 * row * row_words + bits * col, bits) as f32;
        let zero = |row: usize, group: usize| {
            naive::field(&naive::column(&zeros, groups, group), bits * row, bits) as f32
        };
        let half = (1 << (bits - 1)) as f32;
        let packed = Packed {
            bits: bits as u32,
            weight: &weight,
            scales: Scales::groups(values, group),
            zero_points: None,
            g_idx: None,
        };
        let shape = (rows, cols);
        let of = |row, group| naive::float(values, row * groups + group);
        for g_idx in [None, Some(unused.as_slice()), Some(index.as_slice())] {
            let own = |col: usize| if g_idx == Some(&index) { permuted[col] } else { col / group };
            check("packed", shape, Scheme::Packed(Packed { g_idx, ..packed }), |row, col| {
                (code(row, col) - half) * of(row, own(col))
            });
            let shifted = Packed { zero_points: Some(&zeros), g_idx, ..packed };
            check("packed, with zero points", shape, Scheme::Packed(shifted), |row, col| {
                (code(row, col) - zero(row, own(col))) * of(row, own(col))
            });
        }
        let one = Packed { scales: Scales::one(Floats { bytes: &stored[..2], ..values }), ..packed };
        check("packed, one scale", shape, Scheme::Packed(one), |row, col| (code(row, col) - half) * of(0, 0));
    }
}

#[test]
fn bitsandbytes() {
    let mut normal = Normal::new(4);
    for ((rows, cols), block_size, nested_size) in
        [((1_usize, 1_usize), 64, 256), ((9, 33), 64, 3), ((40, 70), 7, 256)]
    {
        let (weights, blocks) = (rows * cols, (rows * cols).div_ceil(block_size));
        let (weight, codes) = (bytes(&mut normal, weights.div_ceil(2)), bytes(&mut normal, blocks));
        let mut floats = |len| scales(&mut normal, FloatFormat::F32, len);
        let (map, nested_map, plain, nested) =
            (floats(16), floats(256), floats(blocks), floats(blocks.div_ceil(nested_size)));
        let get = |bytes, at| naive::float(Floats { format: FloatFormat::F32, bytes }, at);
        // The first of two weights lies in the upper half.
        let value = |at: usize| get(&map, naive::field(&weight, 4 * (at ^ 1), 4) as usize);
        let stored =
            BnbFourBit { weight: &weight, quant_map: &map, block_size, absmax: Absmax::Plain(&plain) };
        check("four bits", (rows, cols), Scheme::BnbFourBit(stored), |row, col| {
            value(row * cols + col) * get(&plain, (row * cols + col) / block_size)
        });
        let absmax = Absmax::Nested {
            codes: &codes,
            quant_map: &nested_map,
            absmax: &nested,
            block_size: nested_size,
            offset: 0.011,
        };
        let stored = BnbFourBit { absmax, ..stored };
        check("four bits, nested", (rows, cols), Scheme::BnbFourBit(stored), |row, col| {
            let block = (row * cols + col) / block_size;
            let scale = get(&nested_map, usize::from(codes[block])) * get(&nested, block / nested_size);
            value(row * cols + col) * (scale + 0.011)
        });
        let (weight, scb) = (bytes(&mut normal, weights), scales(&mut normal, FloatFormat::F32, rows));
        check("int8", (rows, cols), Scheme::BnbInt8(BnbInt8 { weight: &weight, scb: &scb }), |row, col| {
            f32::from(weight[row * cols + col].cast_signed()) * get(&scb, row) * (1.0_f32 / 127.0)
        });
    }
}
