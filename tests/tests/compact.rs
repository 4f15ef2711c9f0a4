//! The compact form of factors: what its quantisers lose, its codes against a decoder that reads bit by bit, and refusals.

use half::{bf16, f16};
use phlora_core::policy::{Direction, Quantizer, allocate_bits};
use phlora_core::quantized::compact::{DISTORTION, MAX_BITS, encode_row, levels, row_bytes};
use phlora_core::quantized::{Compact, Component, Fault, Quantized, Scheme};
use phlora_core::{Error, Shape};
use phlora_tests::matrix::Normal;

fn values(bits: u32) -> Vec<f64> {
    levels(bits).map(|half| f64::from(f16::from_le_bytes(half).to_f32())).collect()
}

/// All levels, as a file holds them.
fn all_levels() -> Vec<u8> {
    (1..=MAX_BITS).flat_map(levels).flatten().collect()
}

/// The mass of the normal distribution between two points, and its first moment there, by Simpson's rule.
fn moments(from: f64, to: f64) -> (f64, f64) {
    const STEPS: usize = 2000;
    let width = (to - from) / STEPS as f64;
    let sum = |power: i32| -> f64 {
        let at = |i: usize| from + width * i as f64;
        let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let weight = |i: usize| if i == 0 || i == STEPS { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
        (0..=STEPS).map(|i| weight(i) * at(i).powi(power) * density(at(i))).sum::<f64>() * width / 3.0
    };
    (sum(0), sum(1))
}

#[test]
fn levels_are_the_means_of_their_cells() {
    for bits in 1..=MAX_BITS {
        let levels = values(bits);
        assert_eq!(levels.len(), 1 << bits);
        let edge = |i: usize| match i {
            0 => -10.0,
            i if i == levels.len() => 10.0,
            i => f64::midpoint(levels[i - 1], levels[i]),
        };
        let mut kept = 0.0;
        for (i, level) in levels.iter().enumerate() {
            let (mass, first) = moments(edge(i), edge(i + 1));
            let mean = first / mass;
            // f16 has eleven bits; the mean depends on the edges, which are rounded as well.
            assert!(
                (mean - level).abs() <= level.abs() / 512.0,
                "{bits} bits, level {i}: {level}, mean {mean}"
            );
            kept += mass * (2.0 * mean * level - level * level);
        }
        let expected = DISTORTION[bits as usize];
        assert!((1.0 - kept - expected).abs() <= 0.01 * expected, "{bits} bits: {} {expected}", 1.0 - kept);
    }
    assert_eq!(levels(0).count() + levels(9).count(), 0);
}

#[test]
fn rows_lose_what_the_quantiser_of_a_normal_variable_loses() {
    let mut normal = Normal::new(7);
    let row: Vec<f32> = (0..100_000).map(|_| (3e-3 * normal.draw()) as f32).collect();
    for bits in 1..=MAX_BITS {
        let mut codes = vec![0; row_bytes(row.len(), bits).unwrap()];
        let fit = encode_row(&row, bits, &mut codes).unwrap();
        let (lost, expected) = (1.0 - fit.kept(), DISTORTION[bits as usize]);
        assert!((lost - expected).abs() <= 0.05 * expected, "{bits} bits: {lost} {expected}");
    }
}

/// Rows of random codes, and what they stand for, bit by bit.
fn example(shape: Shape, normal: &mut Normal) -> ([Vec<u8>; 3], Vec<f32>) {
    let (mut codes, mut bits, mut scales, mut expected) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..shape.rows {
        let width = 1 + (row as u32 + normal.below(2) as u32) % MAX_BITS;
        let scale = bf16::from_f32(0.01 + normal.draw().abs() as f32);
        let stored: Vec<u8> =
            (0..row_bytes(shape.cols, width).unwrap()).map(|_| normal.below(256) as u8).collect();
        let levels = values(width);
        for col in 0..shape.cols {
            let bit = |at: usize| usize::from(stored[at / 8] >> (at % 8) & 1);
            let first = col * width as usize;
            let code: usize = (0..width as usize).map(|i| bit(first + i) << i).sum();
            expected.push(f16::from_f32(scale.to_f32().sqrt() * levels[code] as f32).to_f32());
        }
        codes.extend(stored);
        bits.push(width as u8);
        scales.extend(scale.to_le_bytes());
    }
    ([codes, bits, scales], expected)
}

#[test]
fn codes_are_read_as_a_decoder_by_single_bits_reads_them() {
    let (mut normal, levels) = (Normal::new(11), all_levels());
    for cols in [1, 2, 7, 8, 9, 16, 31, 64, 65] {
        let shape = Shape { rows: 19, cols };
        let ([codes, bits, scales], expected) = example(shape, &mut normal);
        let compact = Compact { codes: &codes, bits: &bits, scales: &scales, levels: &levels };
        let matrix = Quantized::new(shape, Scheme::Compact(compact)).unwrap();
        for rows in [0..19, 3..4, 5..19, 18..19, 7..7] {
            let mut out = vec![0.5; rows.len() * cols];
            matrix.decode(rows.clone(), &mut out).unwrap();
            assert_eq!(out, expected[rows.start * cols..rows.end * cols], "{cols} columns, rows {rows:?}");
        }
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut normal = Normal::new(3);
    let levels = all_levels();
    for (cols, bits) in [(1, 1), (5, 3), (64, 2), (100, 5), (33, 8)] {
        let row: Vec<f32> = (0..cols).map(|_| normal.draw() as f32).collect();
        let mut codes = vec![0; row_bytes(cols, bits).unwrap()];
        let fit = encode_row(&row, bits, &mut codes).unwrap();
        let one = bf16::from_f32(1.0).to_le_bytes();
        let compact = Compact { codes: &codes, bits: &[bits as u8], scales: &one, levels: &levels };
        let mut out = vec![0.0; cols];
        let matrix = Quantized::new(Shape { rows: 1, cols }, Scheme::Compact(compact)).unwrap();
        matrix.decode(0..1, &mut out).unwrap();
        let sum = |other: &[f32]| -> f64 {
            out.iter().zip(other).map(|(&level, &other)| f64::from(level) * f64::from(other)).sum()
        };
        assert_eq!((sum(&row), sum(&out)), (fit.dot, fit.level_squares));
    }
}

#[test]
fn zeros_keep_nothing_and_break_nothing() {
    let mut codes = [1; 2];
    let fit = encode_row(&[0.0; 4], 4, &mut codes).unwrap();
    assert_eq!((fit.kept(), fit.dot), (0.0, 0.0));
    assert_eq!(encode_row(&[], 3, &mut []).unwrap().kept(), 0.0);
    for (bits, len) in [(0, 0), (9, 5), (4, 1), (4, 3)] {
        let mut codes = vec![7; len];
        assert!(matches!(encode_row(&[1.0; 4], bits, &mut codes), Err(Error::OutputLength { .. })), "{bits}");
        assert!(codes.iter().all(|&code| code == 7));
    }
}

#[test]
fn wrong_parts_are_refused() {
    let levels = all_levels();
    let one = bf16::from_f32(1.0).to_le_bytes();
    let good = Compact { codes: &[0; 3], bits: &[3], scales: &one, levels: &levels };
    let fault =
        |compact: Compact<'_>| match Quantized::new(Shape { rows: 1, cols: 8 }, Scheme::Compact(compact)) {
            Ok(_) => None,
            Err(Error::Quantized { component, fault }) => Some((component, fault)),
            Err(other) => panic!("{other}"),
        };
    assert_eq!(fault(good), None);
    for bits in [0, 9, 255] {
        let wrong = Some((Component::Widths, Fault::Bits { bits: u32::from(bits) }));
        assert_eq!(fault(Compact { bits: &[bits], ..good }), wrong);
    }
    assert_eq!(
        fault(Compact { bits: &[], ..good }),
        Some((Component::Widths, Fault::Length { expected: 1 }))
    );
    assert_eq!(
        fault(Compact { codes: &[0; 4], ..good }),
        Some((Component::Weight, Fault::Length { expected: 3 }))
    );
    assert_eq!(
        fault(Compact { scales: &[0], ..good }),
        Some((Component::Scales, Fault::Length { expected: 2 }))
    );
    assert_eq!(
        fault(Compact { levels: &levels[..27], ..good }),
        Some((Component::QuantMap, Fault::Length { expected: 28 }))
    );
    assert_eq!(fault(Compact { levels: &levels[..28], ..good }), None);
    for scale in [f32::NAN, f32::INFINITY, -1.0] {
        let scale = bf16::from_f32(scale).to_le_bytes();
        assert_eq!(
            fault(Compact { scales: &scale, ..good }),
            Some((Component::Scales, Fault::NotFinite { at: 0 }))
        );
    }
}

/// The worth that is kept, and the bytes.
fn kept(directions: &[Direction], quantizer: &Quantizer<'_>, bits: &[u8]) -> (f64, u64) {
    let one = |(direction, &bits): (&Direction, &u8)| {
        let left = 1.0 - quantizer.distortion[usize::from(bits)];
        (direction.worth * left * left, quantizer.bytes(direction, bits.into()))
    };
    directions.iter().zip(bits).map(one).fold((0.0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn bits_are_shared_out_as_well_as_any_choice_shares_them() {
    let quantizer = Quantizer { distortion: &DISTORTION[..4], overhead: 3 };
    let mut normal = Normal::new(5);
    for case in 0..40 {
        let directions: Vec<_> = (0..5)
            .map(|_| Direction {
                worth: normal.draw().powi(2),
                rows: 8 + normal.below(40),
                cols: 8 + normal.below(40),
            })
            .collect();
        let budget = normal.below(130) as u64;
        let mut bits = [9; 5];
        let used = allocate_bits(&directions, &quantizer, budget, &mut bits);
        let (found, bytes) = kept(&directions, &quantizer, &bits);
        assert!(bytes == used && used <= budget, "{case}: {bytes} {used} {budget}");
        let all = (0..4_usize.pow(5)).map(|code| [0, 1, 2, 3, 4].map(|i| (code / 4_usize.pow(i) % 4) as u8));
        let better =
            all.map(|bits| kept(&directions, &quantizer, &bits)).filter(|(_, bytes)| *bytes <= budget);
        let best = better.map(|(kept, _)| kept).fold(0.0, f64::max);
        // What is missing is less than the last bytes could have bought: the best direction's gain.
        let largest = directions.iter().map(|one| one.worth).fold(0.0, f64::max);
        assert!(found >= best - largest, "{case}: {found} {best}");
        // Within the bytes that were used nothing else is better, apart from those that fill up the end.
        let (mut none, mut all) = ([9; 5], [9; 5]);
        assert_eq!(allocate_bits(&directions, &quantizer, 0, &mut none), 0);
        assert_eq!(none, [0; 5]);
        allocate_bits(&directions, &quantizer, u64::MAX, &mut all);
        assert_eq!(all, [3; 5]);
    }
}
