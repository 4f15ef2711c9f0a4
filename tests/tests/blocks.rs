//! The block formats of ggml against what the real libggml says of them: `tests/data/ggml-blocks.bin`, written by
//! `tests/interop/ggml_reference.py`, holds for each format its number, a count, as many blocks, and their weights.

use phlora_core::{
    Dtype, Error, Kernel, Mode, Options, Plan, Rows, Shape, decode, encode, operations::Operations,
};
use phlora_tests::{drive::Pair, matrix::Normal};

struct Case {
    dtype: Dtype,
    blocks: Vec<u8>,
    weights: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/ggml-blocks.bin");
    let bytes = std::fs::read(path).unwrap();
    let (mut rest, mut cases) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (dtype, count) = (Dtype::from_ggml_type(number(0)).unwrap(), number(4) as usize);
        let (blocks, after) = rest[8..].split_at(count * dtype.block_bytes());
        let (weights, after) = after.split_at(4 * count * dtype.block_len());
        let weights = weights.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        cases.push(Case { dtype, blocks: blocks.to_vec(), weights });
        rest = after;
    }
    cases
}

/// Bits, but all NaN alike.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

#[test]
fn every_format_has_its_blocks() {
    let cases = cases();
    for dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_block()) {
        let case = cases.iter().find(|case| case.dtype == *dtype);
        assert!(case.is_some_and(|case| case.weights.len() >= 10 * dtype.block_len()), "{dtype:?}");
    }
}

#[test]
fn blocks_decode_to_the_bits_of_libggml() {
    for Case { dtype, blocks, weights } in cases() {
        let mut out = vec![0.0; weights.len()];
        decode(Rows::new(dtype, &blocks), &mut out).unwrap();
        assert_eq!(bits(&out), bits(&weights), "{}", dtype.name());
        for kernel in Kernel::available() {
            // Not aligned, and ending within a block.
            let shifted = [&[0], blocks.as_slice()].concat();
            for len in [weights.len(), weights.len() - 1, dtype.block_len() + 7, 5] {
                let mut out = vec![0.5; len];
                kernel.decode(Rows::new(dtype, &shifted[1..]), &mut out);
                assert_eq!(bits(&out), bits(&weights[..len]), "{} {}", kernel.name(), dtype.name());
            }
        }
    }
}

#[test]
fn differences_with_blocks_subtract_in_f32() {
    let mut normal = Normal::new(3);
    for Case { dtype, blocks, weights } in cases() {
        let floats: Vec<f32> = weights.iter().map(|_| normal.draw() as f32).collect();
        for other in [Dtype::F32, Dtype::Bf16, Dtype::Q8_0] {
            let mut bytes = vec![0; other.row_bytes(floats.len()).unwrap()];
            encode(&floats, other, &mut bytes).unwrap();
            let mut plain = vec![0.0; floats.len()];
            decode(Rows::new(other, &bytes), &mut plain).unwrap();
            let (block_side, other_side) = (Rows::new(dtype, &blocks), Rows::new(other, &bytes));
            for kernel in Kernel::available() {
                for len in [weights.len(), weights.len() - 32, 32] {
                    let mut out = vec![0.0; len];
                    kernel.difference(block_side, other_side, &mut out);
                    let expected: Vec<_> = plain.iter().zip(&weights).map(|(t, b)| t - b).take(len).collect();
                    assert_eq!(bits(&out), bits(&expected), "{} {dtype:?} {other:?}", kernel.name());
                    kernel.difference(other_side, block_side, &mut out);
                    let expected: Vec<_> = plain.iter().zip(&weights).map(|(b, t)| t - b).take(len).collect();
                    assert_eq!(bits(&out), bits(&expected), "{} {other:?} {dtype:?}", kernel.name());
                }
            }
        }
    }
}

#[test]
fn blocks_that_are_cut_off_are_refused() {
    for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_block()) {
        let (len, bytes) = (dtype.block_len(), vec![0x33; 2 * dtype.block_bytes()]);
        let mut out = vec![0.0; 2 * len];
        assert!(decode(Rows::new(dtype, &bytes), &mut out).is_ok());
        assert!(decode(Rows::new(dtype, &bytes[1..]), &mut out[..len]).is_err());
        assert!(decode(Rows::new(dtype, &bytes), &mut out[1..]).is_err());
        let partial = encode(&out[1..], dtype, &mut vec![0; bytes.len()]);
        assert_eq!(partial, Err(Error::NotWholeBlocks { block_len: len }));
        let whole = encode(&out, dtype, &mut vec![0; bytes.len()]);
        assert_eq!(whole, if dtype.is_encoded() { Ok(()) } else { Err(Error::NotEncoded) });
    }
}

#[test]
fn encoded_blocks_are_near_and_never_hide_what_is_not_finite() {
    let mut normal = Normal::new(4);
    // The error is half a step of the largest magnitude; a whole one where Q4_0 cuts 8 down to 7.
    for (dtype, steps) in [(Dtype::Q8_0, 0.5 / 127.0), (Dtype::Q4_0, 1.0 / 8.0)] {
        let mut values: Vec<f32> = (0..64).map(|_| normal.draw() as f32).collect();
        let mut bytes = vec![0; dtype.row_bytes(64).unwrap()];
        let mut back = vec![0.0; 64];
        encode(&values, dtype, &mut bytes).unwrap();
        decode(Rows::new(dtype, &bytes), &mut back).unwrap();
        for (values, back) in values.chunks(32).zip(back.chunks(32)) {
            let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (value, back) in values.iter().zip(back) {
                // An f16 rounds the scale by 2⁻¹¹.
                assert!((value - back).abs() <= largest * (steps + 1.0 / 2048.0), "{dtype:?}");
            }
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[40] = bad;
            encode(&values, dtype, &mut bytes).unwrap();
            decode(Rows::new(dtype, &bytes), &mut back).unwrap();
            assert!(back[..32].iter().all(|x| x.is_finite()) && back[32..].iter().all(|x| x.is_nan()));
        }
    }
}

#[test]
fn formats_with_more_bits_are_nearer() {
    let mut normal = Normal::new(5);
    let values: Vec<f32> = (0..64 * 32).map(|_| normal.draw() as f32).collect();
    let formats = [
        (Dtype::Q4_0, 0.1),
        (Dtype::Iq4Nl, 0.08),
        (Dtype::Q4_1, 0.08),
        (Dtype::Q5_0, 0.05),
        (Dtype::Q5_1, 0.04),
        (Dtype::Q8_0, 0.006),
    ];
    let mut before = f64::INFINITY;
    for (dtype, most) in formats {
        let (mut bytes, mut back) =
            (vec![0; dtype.row_bytes(values.len()).unwrap()], vec![0.0; values.len()]);
        encode(&values, dtype, &mut bytes).unwrap();
        decode(Rows::new(dtype, &bytes), &mut back).unwrap();
        let squares = |x: f32| f64::from(x).powi(2);
        let error: f64 = values.iter().zip(&back).map(|(x, y)| squares(x - y)).sum();
        let error = (error / values.iter().map(|&x| squares(x)).sum::<f64>()).sqrt();
        assert!(error < most && error < before, "{dtype:?}: {error} of {most}, before {before}");
        before = error;
        // Zeros stay zeros, and what is not finite spoils its own block alone.
        encode(&[0.0, -0.0].repeat(16), dtype, &mut bytes[..dtype.block_bytes()]).unwrap();
        decode(Rows::new(dtype, &bytes[..dtype.block_bytes()]), &mut back[..32]).unwrap();
        assert!(back[..32].iter().all(|&x| x == 0.0), "{dtype:?}");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut spoilt = values[..64].to_vec();
            spoilt[40] = bad;
            encode(&spoilt, dtype, &mut bytes[..2 * dtype.block_bytes()]).unwrap();
            decode(Rows::new(dtype, &bytes[..2 * dtype.block_bytes()]), &mut back[..64]).unwrap();
            assert!(back[..32].iter().all(|x| x.is_finite()) && back[32..64].iter().all(|x| x.is_nan()));
        }
    }
}

/// Rows of random blocks with scales that suit weights, and the same rows in f32.
fn base(dtype: Dtype, shape: Shape, normal: &mut Normal) -> (Vec<u8>, Vec<u8>) {
    let weights: Vec<f32> = (0..shape.rows * shape.cols).map(|_| normal.draw() as f32).collect();
    let mut bytes = vec![0; dtype.row_bytes(weights.len()).unwrap()];
    if encode(&weights, dtype, &mut bytes).is_err() {
        for block in bytes.chunks_mut(dtype.block_bytes()) {
            block.fill_with(|| normal.below(256) as u8);
            // Q4_K: 2⁻⁸ and 2⁻⁹.
            block[..4].copy_from_slice(&[0, 0x1c, 0, 0x18]);
        }
    }
    let mut decoded = vec![0.0; weights.len()];
    decode(Rows::new(dtype, &bytes), &mut decoded).unwrap();
    (bytes, decoded.iter().flat_map(|x| x.to_le_bytes()).collect())
}

#[test]
fn a_base_in_blocks_gives_the_factors_of_its_weights() {
    let mut normal = Normal::new(8);
    for (dtype, cols) in [(Dtype::Q8_0, 320), (Dtype::Q4_0, 288), (Dtype::Q4K, 768)] {
        let shape = Shape { rows: 45, cols };
        let (blocks, plain) = base(dtype, shape, &mut normal);
        let delta = normal.matrix(45, 6) * normal.matrix(6, cols);
        let tuned = plain.as_chunks().0.iter().enumerate().flat_map(|(i, &x)| {
            (f32::from_le_bytes(x) + 0.01 * delta[(i / cols, i % cols)] as f32).to_le_bytes()
        });
        let of_blocks = Pair { shape, dtypes: [dtype, Dtype::F32], base: blocks, tuned: tuned.collect() };
        let of_floats = Pair { dtypes: [Dtype::F32; 2], base: plain, ..of_blocks.clone() };
        for mode in [Mode::Exact, Mode::MultiRead, Mode::StreamOnce] {
            let options = Options { rank: 4, mode, ..Options::default() };
            for kernel in Kernel::available() {
                let extract = |pair: &Pair, rows| pair.extract_in_blocks(&options, kernel, || rows).unwrap();
                let expected = extract(&of_floats, usize::MAX);
                assert!(expected.report.energy() > 0.5);
                assert_eq!(extract(&of_blocks, usize::MAX), expected, "{dtype:?} {mode:?}");
                assert_eq!(extract(&of_blocks, 7), expected, "{dtype:?} {mode:?} in blocks of 7 rows");
            }
        }
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused() {
    let shape = Shape { rows: 3, cols: 48 };
    let options = Options { rank: 2, ..Options::default() };
    let plan = Plan::new(shape, &options).unwrap();
    let mut scratch = vec![0.0; plan.scratch_len()];
    let mut extractor = plan.start(&mut scratch).unwrap();
    let (bytes, floats) = ([0; 27], [0; 192]);
    let refused = extractor.push(Rows::new(Dtype::Q4_0, &bytes), Rows::new(Dtype::F32, &floats));
    assert_eq!(refused, Err(Error::NotWholeBlocks { block_len: 32 }));
    // Nothing happened.
    let row = Rows::new(Dtype::F32, &floats);
    assert_eq!((0..3).try_for_each(|_| extractor.push(row, row)), Ok(()));
}

/// ggml's reference rounding, a number at a time.
fn reference(values: &[f32], dtype: Dtype) -> Vec<u8> {
    let largest = values.iter().fold(0.0_f32, |most, v| if v.abs() > most.abs() { *v } else { most });
    let scale = if dtype == Dtype::Q8_0 { largest.abs() / 127.0 } else { largest / -8.0 };
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let integer = |value: f32| if value.is_finite() { value as i8 } else { 0 };
    let mut block = half::f16::from_f32(scale).to_le_bytes().to_vec();
    if dtype == Dtype::Q8_0 {
        block.extend(values.iter().map(|v| integer((v * inverse).round()).cast_unsigned()));
    } else {
        let four = |v: f32| integer(v * inverse + 8.5).min(15).cast_unsigned();
        block.extend((0..16).map(|i| four(values[i]) | four(values[i + 16]) << 4));
    }
    block
}

#[test]
fn blocks_are_rounded_to_the_bits_of_the_reference() {
    let mut normal = Normal::new(77);
    for round in 0..20_000 {
        let scale = 2.0_f64.powi(round % 270 - 150);
        let mut values: Vec<f32> = (0..32).map(|_| (normal.draw() * scale) as f32).collect();
        match round % 4 {
            // Halves, which go away from zero, and next to them.
            0 => {
                values[0] = 127.0;
                for (i, value) in values.iter_mut().enumerate().skip(1) {
                    *value = (i as f32 * 7.0 % 251.0) - 125.5;
                    if round % 8 == 4 {
                        *value = value.next_up();
                    }
                }
            }
            // Zeros of both signs, and the largest twice with both signs.
            1 => {
                values[3..20].fill(if round % 8 == 1 { 0.0 } else { -0.0 });
                let most = values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
                (values[7], values[21]) = (-most, most);
            }
            2 if round % 16 == 2 => values.fill(if round % 32 == 2 { 0.0 } else { -0.0 }),
            _ => {}
        }
        for dtype in [Dtype::Q8_0, Dtype::Q4_0] {
            let mut block = vec![0; dtype.block_bytes()];
            phlora_core::encode(&values, dtype, &mut block).unwrap();
            assert_eq!(block, reference(&values, dtype), "{dtype:?} {values:?}");
        }
    }
}
