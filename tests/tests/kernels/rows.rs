//! Stored rows decoded, subtracted, encoded and added to.

use phlora_core::{Dtype, Kernel, Rows, decode, encode, operations::Operations};
use phlora_tests::sets::kernels;

use crate::support::{add, awkward, blocks, deviates};

#[test]
fn every_16_bit_value_decodes_as_the_reference_says() {
    let patterns: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = patterns.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    for kernel in kernels() {
        let mut out = vec![0.0; patterns.len()];
        for (dtype, value) in [
            (Dtype::F16, (|bits| half::f16::from_bits(bits).to_f32()) as fn(u16) -> f32),
            (Dtype::Bf16, |bits| half::bf16::from_bits(bits).to_f32()),
        ] {
            kernel.decode(Rows::new(dtype, &bytes), &mut out);
            for (&bits, &got) in patterns.iter().zip(&out) {
                let expected = value(bits);
                let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
                assert!(same, "{} {dtype:?} {bits:#06x}: {got} against {expected}", kernel.name());
            }
        }
    }
}

#[test]
fn differences_subtract_in_f32_for_every_pair_of_formats() {
    let formats = [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64];
    let (base, tuned) = (deviates(6, 61), deviates(7, 61));
    let encoded = |values: &[f32], dtype: Dtype| {
        let mut bytes = vec![0; dtype.row_bytes(values.len()).unwrap()];
        encode(values, dtype, &mut bytes).unwrap();
        bytes
    };
    for from in formats {
        for to in formats {
            let (b, t) = (encoded(&base, from), encoded(&tuned, to));
            let (mut plain_b, mut plain_t) = (vec![0.0; 61], vec![0.0; 61]);
            decode(Rows::new(from, &b), &mut plain_b).unwrap();
            decode(Rows::new(to, &t), &mut plain_t).unwrap();
            for kernel in kernels() {
                // One byte off, so that nothing is aligned.
                let (b, t) = ([&[0], b.as_slice()].concat(), [&[0], t.as_slice()].concat());
                let mut out = vec![0.0; 61];
                kernel.difference(Rows::new(from, &b[1..]), Rows::new(to, &t[1..]), &mut out);
                for i in 0..61 {
                    assert_eq!(out[i], plain_t[i] - plain_b[i], "{} {from:?} {to:?}", kernel.name());
                }
            }
        }
    }
}

#[test]
fn encode_rounds_to_nearest_even_and_checks_lengths() {
    let mut bytes = [0; 4];
    encode(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], Dtype::Bf16, &mut bytes).unwrap();
    let mut back = [0.0; 2];
    decode(Rows::new(Dtype::Bf16, &bytes), &mut back).unwrap();
    assert_eq!(back, [1.0, 1.0 + 4.0 / 256.0]);
    assert!(encode(&[0.0; 3], Dtype::F16, &mut [0; 4]).is_err());
    assert!(decode(Rows::new(Dtype::F32, &[0; 6]), &mut [0.0; 1]).is_err());
}

#[test]
fn encoding_and_adding_to_halves_give_the_same_bits_everywhere() {
    let formats = Dtype::ALL.iter().copied().filter(|dtype| dtype.is_encoded());
    for (seed, dtype) in (1..).zip(formats) {
        for len in [1_usize, 7, 15, 16, 17, 31, 32, 64, 250, 256, 288, 1024, 2048 + 96] {
            let len = len.next_multiple_of(dtype.block_len());
            let (values, delta) = (awkward(seed, len), awkward(seed + 100, len));
            let bytes = dtype.row_bytes(len).unwrap();
            let mut expected = vec![0; bytes];
            assert!(Kernel::PORTABLE.encode(&values, dtype, &mut expected));
            let mut added = expected.clone();
            add(&delta, dtype, &mut added);
            for kernel in kernels() {
                let mut found = vec![0xaa; bytes];
                assert!(kernel.encode(&values, dtype, &mut found));
                assert!(found == expected, "{} {} {len}", kernel.name(), dtype.name());
                if dtype == Dtype::F16 {
                    kernel.add_half(&delta, &mut found);
                    assert!(found == added, "{} adds to {len} halves", kernel.name());
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_is_found_wherever_it_is() {
    for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_encoded()) {
        let len = 65_usize.next_multiple_of(dtype.block_len());
        let mut bytes = vec![0; dtype.row_bytes(len).unwrap()];
        // The largest numbers are numbers.
        let is_half = ["F16", "Q4_0", "Q4_1", "Q5_1"].contains(&dtype.name());
        let most = if is_half { 65504.0 } else { 1e6 };
        encode(&vec![most; len], dtype, &mut bytes).unwrap();
        assert!(kernels().all(|kernel| kernel.all_finite(Rows::new(dtype, &bytes))), "{}", dtype.name());
        for at in 0..len {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![-1.0; len];
                values[at] = bad;
                encode(&values, dtype, &mut bytes).unwrap();
                let found = |kernel: Kernel| !kernel.all_finite(Rows::new(dtype, &bytes));
                assert!(kernels().all(found), "{} {at}", dtype.name());
            }
        }
    }
    // The scale of a block is infinite.
    let block = [[0x00, 0x7c], [0x00, 0x3c]].concat().into_iter().chain([0x11; 16]).collect::<Vec<u8>>();
    for dtype in blocks(&["Q4_1"]) {
        assert!(kernels().all(|kernel| !kernel.all_finite(Rows::new(dtype, &block))));
        assert!(kernels().all(|kernel| kernel.all_finite(Rows::new(dtype, &block[..0]))));
    }
}
