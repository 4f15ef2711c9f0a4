//! Parts that do not fit together are refused by name, and no range of rows is decoded that does not exist.

use phlora_core::quantized::{
    Absmax, Awq, BnbFourBit, BnbInt8, Component, Fault, FloatFormat, Floats, Fp8, Fp8Format, GlobalScale,
    Gptq, Int8, Mxfp4, Nvfp4, Packed, Quantized, Scales, Scheme,
};
use phlora_core::{Error, Shape};

const SHAPE: Shape = Shape { rows: 64, cols: 96 };

const fn f16(bytes: &[u8]) -> Floats<'_> {
    Floats { format: FloatFormat::F16, bytes }
}

fn fault(shape: Shape, scheme: Scheme<'_>) -> Option<(Component, Fault)> {
    match Quantized::new(shape, scheme) {
        Ok(_) => None,
        Err(Error::Quantized { component, fault }) => {
            assert!(!format!("{component} {fault}").is_empty());
            Some((component, fault))
        }
        Err(other) => panic!("{other}"),
    }
}

/// Calls `scheme` with buffers of zeros as long as `lengths`, then with each of them shorter, longer and empty.
fn lengths<const N: usize>(
    lengths: [(Component, usize); N],
    scheme: impl for<'a> Fn([&'a [u8]; N]) -> Scheme<'a>,
) {
    let zeros = vec![0; 1 << 16];
    let fits = lengths.map(|(_, len)| &zeros[..len]);
    assert_eq!(fault(SHAPE, scheme(fits)), None);
    for (i, (component, expected)) in lengths.into_iter().enumerate() {
        for len in [0, 1, expected - 1, expected + 1, 2 * expected] {
            let mut wrong = fits;
            wrong[i] = &zeros[..len];
            assert_eq!(fault(SHAPE, scheme(wrong)), Some((component, Fault::Length { expected })), "{len}");
        }
    }
}

#[test]
fn every_part_has_its_length() {
    let (rows, cols) = (SHAPE.rows, SHAPE.cols);
    let weights = rows * cols;
    lengths([(Component::Weight, weights), (Component::Scales, 2 * 4 * 3)], |[weight, scales]| {
        let scales = Scales { values: f16(scales), block: Shape { rows: 20, cols: 40 } };
        Scheme::Fp8(Fp8 { weight, format: Fp8Format::E4M3, scales: Some(scales) })
    });
    let components =
        [(Component::Weight, weights), (Component::Scales, 2 * rows), (Component::ZeroPoints, rows)];
    lengths(components, |[weight, scales, zeros]| {
        Scheme::Int8(Int8 { weight, scales: Scales::per_row(f16(scales)), zero_points: Some(zeros) })
    });
    lengths([(Component::Weight, weights / 2), (Component::Scales, weights / 32)], |[weight, scales]| {
        Scheme::Mxfp4(Mxfp4 { weight, scales })
    });
    lengths([(Component::Weight, weights / 2), (Component::Scales, weights / 16)], |[weight, scales]| {
        Scheme::Nvfp4(Nvfp4 { weight, scales, global: GlobalScale::Over(0.0) })
    });
    let components = [
        (Component::Weight, weights / 2),
        (Component::Scales, 2 * rows * 3),
        (Component::ZeroPoints, rows / 2 * 3),
        (Component::GroupIndex, 4 * cols),
    ];
    lengths(components, |[weight, scales, zeros, index]| {
        let scales = Scales::groups(f16(scales), 32);
        Scheme::Packed(Packed { bits: 4, weight, scales, zero_points: Some(zeros), g_idx: Some(index) })
    });
    let components = [
        (Component::Weight, weights / 2),
        (Component::QuantMap, 64),
        (Component::Scales, weights / 64),
        (Component::NestedQuantMap, 1024),
        (Component::NestedScales, 4),
    ];
    lengths(components, |[weight, quant_map, codes, nested_map, nested]| {
        let absmax =
            Absmax::Nested { codes, quant_map: nested_map, absmax: nested, block_size: 256, offset: 0.0 };
        Scheme::BnbFourBit(BnbFourBit { weight, quant_map, block_size: 64, absmax })
    });
    lengths([(Component::Weight, weights / 2), (Component::Scales, weights / 16)], |[weight, absmax]| {
        Scheme::BnbFourBit(BnbFourBit {
            weight,
            quant_map: &[0; 64],
            block_size: 64,
            absmax: Absmax::Plain(absmax),
        })
    });
    lengths([(Component::Weight, weights), (Component::Scales, 4 * rows)], |[weight, scb]| {
        Scheme::BnbInt8(BnbInt8 { weight, scb })
    });
    for bits in [2, 3, 4, 8] {
        let components = [
            (Component::Weight, cols * bits / 8 * rows),
            (Component::ZeroPoints, rows * bits / 8 * 3),
            (Component::Scales, 2 * rows * 3),
            (Component::GroupIndex, 4 * cols),
        ];
        lengths(components, |[qweight, qzeros, scales, index]| {
            let (bits, scales) = (bits as u32, f16(scales));
            Scheme::Gptq(Gptq {
                bits,
                qweight,
                qzeros,
                v2: false,
                scales,
                group_size: 32,
                g_idx: Some(index),
            })
        });
    }
    let components = [
        (Component::Weight, weights / 2),
        (Component::ZeroPoints, rows / 2 * 3),
        (Component::Scales, 2 * rows * 3),
    ];
    lengths(components, |[qweight, qzeros, scales]| {
        Scheme::Awq(Awq { qweight, qzeros, scales: f16(scales), group_size: 32 })
    });
}

#[test]
fn sizes_bits_and_indices_are_checked() {
    let zeros = vec![0; 1 << 16];
    let none = Scales::groups(f16(&zeros), 0);
    let fp8 = Fp8 { weight: &zeros[..64 * 96], format: Fp8Format::E5M2, scales: Some(none) };
    assert_eq!(fault(SHAPE, Scheme::Fp8(fp8)), Some((Component::Scales, Fault::BlockSize)));
    let none = Scales { values: f16(&zeros), block: Shape { rows: 0, cols: 1 } };
    assert_eq!(
        fault(SHAPE, Scheme::Fp8(Fp8 { scales: Some(none), ..fp8 })),
        Some((Component::Scales, Fault::BlockSize))
    );

    let index = |entry: i32| [0, 2, 1, entry].map(i32::to_le_bytes).concat();
    let shape = Shape { rows: 8, cols: 4 };
    let packed = Packed {
        bits: 4,
        weight: &zeros[..32],
        scales: Scales::groups(f16(&zeros[..64]), 1),
        zero_points: Some(&zeros[..16]),
        g_idx: None,
    };
    for bits in [0, 1, 3, 5, 16, 32, u32::MAX] {
        let wrong = Some((Component::Weight, Fault::Bits { bits }));
        assert_eq!(fault(shape, Scheme::Packed(Packed { bits, ..packed })), wrong);
    }
    let one = Packed { scales: Scales::one(f16(&zeros[..2])), ..packed };
    assert_eq!(fault(shape, Scheme::Packed(one)), Some((Component::ZeroPoints, Fault::NotPerRow)));
    let gptq = Gptq {
        bits: 8,
        qweight: &zeros[..32],
        qzeros: &zeros[..32],
        v2: true,
        scales: f16(&zeros[..64]),
        group_size: 1,
        g_idx: None,
    };
    for bits in [0, 1, 5, 16, 32, 33, u32::MAX] {
        let wrong = Some((Component::Weight, Fault::Bits { bits }));
        assert_eq!(fault(shape, Scheme::Gptq(Gptq { bits, ..gptq })), wrong);
    }
    let wrong = Some((Component::Weight, Fault::Columns { multiple_of: 32 }));
    assert_eq!(fault(shape, Scheme::Gptq(Gptq { bits: 3, ..gptq })), wrong);
    for (entry, wrong) in [(3, false), (4, true), (i32::MAX, true), (i32::MIN, true), (-2, true)] {
        let (g_idx, wrong) = (index(entry), wrong.then_some((Component::GroupIndex, Fault::Index { at: 3 })));
        assert_eq!(fault(shape, Scheme::Packed(Packed { g_idx: Some(&g_idx), ..packed })), wrong);
        assert_eq!(fault(shape, Scheme::Gptq(Gptq { g_idx: Some(&g_idx), ..gptq })), wrong);
    }
    let g_idx = index(-1);
    assert_eq!(fault(shape, Scheme::Packed(Packed { g_idx: Some(&g_idx), ..packed })), None);
    let wrong = Some((Component::GroupIndex, Fault::Index { at: 3 }));
    assert_eq!(fault(shape, Scheme::Gptq(Gptq { g_idx: Some(&g_idx), ..gptq })), wrong);

    let no_group = Some((Component::Scales, Fault::BlockSize));
    assert_eq!(fault(shape, Scheme::Gptq(Gptq { group_size: 0, ..gptq })), no_group);
    let awq = Awq { qweight: &zeros, qzeros: &zeros, scales: f16(&zeros), group_size: 0 };
    assert_eq!(fault(shape, Scheme::Awq(awq)), no_group);
    let wrong = Some((Component::Weight, Fault::Rows { multiple_of: 8 }));
    assert_eq!(fault(Shape { rows: 9, cols: 4 }, Scheme::Awq(awq)), wrong);
    let wrong = Some((Component::Weight, Fault::Columns { multiple_of: 32 }));
    assert_eq!(fault(shape, Scheme::Mxfp4(Mxfp4 { weight: &zeros, scales: &zeros })), wrong);

    let bnb = BnbFourBit {
        weight: &zeros[..16],
        quant_map: &zeros[..64],
        block_size: 0,
        absmax: Absmax::Plain(&zeros),
    };
    assert_eq!(fault(shape, Scheme::BnbFourBit(bnb)), no_group);
    let absmax = Absmax::Nested {
        codes: &zeros[..32],
        quant_map: &zeros[..1024],
        absmax: &zeros,
        block_size: 0,
        offset: 0.0,
    };
    let wrong = Some((Component::NestedScales, Fault::BlockSize));
    assert_eq!(fault(shape, Scheme::BnbFourBit(BnbFourBit { block_size: 1, absmax, ..bnb })), wrong);
}

#[test]
fn ranges_are_checked() {
    let weight = Fp8 { weight: &[0x38; 12], format: Fp8Format::E4M3, scales: None };
    let matrix = Quantized::new(Shape { rows: 4, cols: 3 }, Scheme::Fp8(weight)).unwrap();
    assert_eq!(matrix.bytes_per_row(), 3);
    let mut out = [7.0; 6];
    for (start, end) in [(0, 5), (3, 2), (5, 5), (usize::MAX, 0), (0, usize::MAX)] {
        assert_eq!(matrix.decode(start..end, &mut out), Err(Error::RowRange { rows: 4 }));
    }
    assert_eq!(matrix.decode(0..1, &mut out), Err(Error::OutputLength { expected: 3 }));
    assert_eq!(matrix.decode(1..4, &mut out), Err(Error::OutputLength { expected: 9 }));
    assert_eq!(out, [7.0; 6]);
    assert_eq!(matrix.decode(4..4, &mut []), Ok(()));
    assert_eq!(matrix.decode(2..4, &mut out), Ok(()));
    assert_eq!(out, [1.0; 6]);
}
