//! GPTQ and AWQ, which are stored by columns, with random parts and odd sizes, against decoders that read bit by bit.

use phlora_core::quantized::{Awq, FloatFormat, Floats, Gptq, Scheme};
use phlora_tests::matrix::Normal;

use super::naive;
use super::schemes::{bytes, check, scales};

#[test]
fn gptq_of_all_bits() {
    let mut normal = Normal::new(5);
    for (bits, (rows, cols), group_size) in [
        (2_usize, (16_usize, 16_usize), 16),
        (2, (80, 48), 20),
        (3, (32, 32), usize::MAX),
        (3, (96, 160), 24),
        (4, (8, 8), 3),
        (4, (104, 72), 32),
        (8, (4, 4), 1),
        (8, (76, 36), 8),
    ] {
        let groups = cols.div_ceil(group_size);
        let qweight = bytes(&mut normal, cols * bits / 8 * rows);
        let qzeros = bytes(&mut normal, rows * bits / 8 * groups);
        let permuted: Vec<usize> = (0..cols).map(|_| normal.below(groups as u32)).collect();
        let index: Vec<u8> = permuted.iter().flat_map(|&group| (group as u32).to_le_bytes()).collect();
        let stored = scales(&mut normal, FloatFormat::F16, rows * groups);
        let scales = Floats { format: FloatFormat::F16, bytes: &stored };
        // Format 1 after one was added to every field, in words where fields do not cross them.
        let corrected: Vec<u8> = if bits == 3 {
            let fields = |i| (naive::field(&qzeros, 3 * i, 3) + 1) & 7;
            let bit = |i: usize| fields(i / 3) >> (i % 3) & 1;
            (0..qzeros.len()).map(|byte| (0..8).map(|i| (bit(8 * byte + i) << i) as u8).sum()).collect()
        } else {
            let ones: u32 = (0..32 / bits).map(|i| 1 << (i * bits)).sum();
            let words = (0..qzeros.len() / 4).map(|i| naive::int32(&qzeros, i).cast_unsigned());
            words.flat_map(|word| word.wrapping_add(ones).to_le_bytes()).collect()
        };
        let codes: Vec<_> = (0..rows).map(|row| naive::column(&qweight, rows, row)).collect();
        for v2 in [false, true] {
            let zeros = if v2 { &qzeros } else { &corrected };
            for g_idx in [None, Some(index.as_slice())] {
                let gptq = Gptq {
                    bits: bits as u32,
                    qweight: &qweight,
                    qzeros: &qzeros,
                    v2,
                    scales,
                    group_size,
                    g_idx,
                };
                check(&format!("{bits} bits, {v2}"), (rows, cols), Scheme::Gptq(gptq), |row, col| {
                    let group = if g_idx.is_some() { permuted[col] } else { col / group_size };
                    let zero = naive::field(zeros, 8 * (rows * bits / 8 * group) + bits * row, bits);
                    let code = naive::field(&codes[row], bits * col, bits);
                    (code as f32 - zero as f32) * naive::float(scales, group * rows + row)
                });
            }
        }
    }
}

#[test]
fn awq() {
    /// Which of eight rows lies in each half byte, from the lowest on.
    const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
    let mut normal = Normal::new(6);
    for ((rows, cols), group_size) in [((8_usize, 1_usize), 1), ((40, 33), usize::MAX), ((104, 72), 32)] {
        let groups = cols.div_ceil(group_size);
        let (qweight, qzeros) = (bytes(&mut normal, rows / 2 * cols), bytes(&mut normal, rows / 2 * groups));
        let stored = scales(&mut normal, FloatFormat::F16, rows * groups);
        let scales = Floats { format: FloatFormat::F16, bytes: &stored };
        let field = |bytes: &[u8], line: usize, row: usize| {
            let place = ORDER.iter().position(|&own| own == row % 8).unwrap();
            naive::field(bytes, 4 * (line * rows + row / 8 * 8 + place), 4) as f32
        };
        let awq = Awq { qweight: &qweight, qzeros: &qzeros, scales, group_size };
        check("awq", (rows, cols), Scheme::Awq(awq), |row, col| {
            let group = col / group_size;
            (field(&qweight, col, row) - field(&qzeros, group, row))
                * naive::float(scales, group * rows + row)
        });
    }
}
