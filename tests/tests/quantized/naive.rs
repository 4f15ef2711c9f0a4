//! Decoders that read bit by bit, written from the descriptions of the formats.

use phlora_core::quantized::{FloatFormat, Floats};

/// `count` bits from bit `start` on, the lowest bit of each byte first.
pub fn field(bytes: &[u8], start: usize, count: usize) -> u32 {
    (0..count).map(|i| u32::from(bytes[(start + i) / 8] >> ((start + i) % 8) & 1) << i).sum()
}

/// A float of a sign, `exponent` bits with the usual bias and `fraction` bits; no infinities and no NaN.
pub fn minifloat(code: u8, exponent: u32, fraction: u32) -> f64 {
    let code = u32::from(code);
    let sign = if code >> (exponent + fraction) & 1 == 1 { -1.0 } else { 1.0 };
    let (power, digits) = (code >> fraction & ((1 << exponent) - 1), code & ((1 << fraction) - 1));
    let bias = (1 << (exponent - 1)) - 1;
    let part = f64::from(digits) / f64::from(1_u32 << fraction);
    let (whole, power) = if power == 0 { (0.0, 1 - bias) } else { (1.0, power.cast_signed() - bias) };
    sign * (whole + part) * 2.0_f64.powi(power)
}

pub fn e2m1(code: u32) -> f32 {
    minifloat(code as u8, 2, 1) as f32
}

pub fn e4m3(code: u8) -> f32 {
    if code & 0x7f == 0x7f { f32::NAN } else { minifloat(code, 4, 3) as f32 }
}

pub fn e5m2(code: u8) -> f32 {
    match code & 0x7f {
        0x7c => f32::INFINITY.copysign(if code < 0x80 { 1.0 } else { -1.0 }),
        0x7d.. => f32::NAN,
        _ => minifloat(code, 5, 2) as f32,
    }
}

/// Float `index`.
pub fn float(floats: Floats<'_>, index: usize) -> f32 {
    let size = floats.format.bytes();
    let bytes = &floats.bytes[index * size..][..size];
    match floats.format {
        FloatFormat::F32 => f32::from_le_bytes(bytes.try_into().unwrap()),
        FloatFormat::F16 => half::f16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
        FloatFormat::Bf16 => half::bf16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
        FloatFormat::E8M0 if bytes[0] == 255 => f32::NAN,
        FloatFormat::E8M0 => 2.0_f64.powi(i32::from(bytes[0]) - 127) as f32,
        FloatFormat::E4M3 => e4m3(bytes[0]),
        other => panic!("{other:?}"),
    }
}

/// Entry `index` of a tensor of 32-bit integers.
pub fn int32(bytes: &[u8], index: usize) -> i32 {
    i32::from_le_bytes(bytes[4 * index..][..4].try_into().unwrap())
}

/// Column `col` of a tensor of 32-bit words [words, cols], as the bytes of one run of bits.
pub fn column(bytes: &[u8], cols: usize, col: usize) -> Vec<u8> {
    bytes.chunks(4 * cols).flat_map(|row| row[4 * col..][..4].to_vec()).collect()
}

#[test]
fn all_codes_of_8_bit_floats_are_those_of_their_description() {
    use phlora_core::quantized::{Fp8, Fp8Format, Scheme};
    let weight: Vec<u8> = (0..=255).collect();
    let shape = phlora_core::Shape { rows: 4, cols: 64 };
    for (format, decode) in [(Fp8Format::E4M3, e4m3 as fn(u8) -> f32), (Fp8Format::E5M2, e5m2)] {
        let expected: Vec<f32> = weight.iter().map(|&code| decode(code)).collect();
        super::check(
            "8-bit floats",
            shape,
            Scheme::Fp8(Fp8 { weight: &weight, format, scales: None }),
            &expected,
        );
    }
}
