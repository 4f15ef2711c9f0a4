//! Codes of weights to the f32 values that they stand for, before any scale.

/// The values of E2M1. A sign without a magnitude is −0.
pub const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// E4M3 without infinities: its bits moved into an f32 whose exponent is then put right, exact for subnormal codes too.
#[inline]
pub const fn e4m3(code: u8) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 120) << 23);
    let magnitude = (code & 0x7f) as u32;
    let value = f32::from_bits(magnitude << 20) * REBIAS;
    let nan = if magnitude == 0x7f { 0x7fc0_0000 } else { 0 };
    f32::from_bits(value.to_bits() | nan | ((code & 0x80) as u32) << 24)
}

/// E5M2, the upper half of an f16.
#[inline]
pub const fn e5m2(code: u8) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = (code & 0x7f) as u32;
    let value = f32::from_bits(magnitude << 21) * REBIAS;
    let special = if magnitude >= 0x7c { 0x7f80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | special | ((code & 0x80) as u32) << 24)
}

/// The values of all codes: loading one takes less than half the time of computing it.
pub static E4M3: [f32; 256] = table(false);
pub static E5M2: [f32; 256] = table(true);

const fn table(is_e5m2: bool) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < values.len() {
        values[code] = if is_e5m2 { e5m2(code as u8) } else { e4m3(code as u8) };
        code += 1;
    }
    values
}

/// Writes `value` of every byte.
#[inline]
pub fn bytes(codes: &[u8], out: &mut [f32], value: impl Fn(u8) -> f32) {
    for (out, &code) in out.iter_mut().zip(codes) {
        *out = value(code);
    }
}

/// Writes the `8 / BITS` unsigned integers of every byte, the lowest bits first, less `offset`.
#[inline]
pub fn integers<const BITS: u32, const PER_BYTE: usize>(codes: &[u8], out: &mut [f32], offset: i32) {
    const { assert!(BITS as usize * PER_BYTE == 8) };
    let field = |code: u8, i: usize| (i32::from(code) >> (BITS as usize * i) & ((1 << BITS) - 1)) - offset;
    let (outs, rest) = out.as_chunks_mut::<PER_BYTE>();
    for (out, &code) in outs.iter_mut().zip(codes) {
        for i in 0..PER_BYTE {
            out[i] = field(code, i) as f32;
        }
    }
    if let Some(&code) = codes.get(outs.len()) {
        rest.iter_mut().enumerate().for_each(|(i, out)| *out = field(code, i) as f32);
    }
}

/// Writes what the halves of every byte choose from `values`, the lower half first or, with `HIGH_FIRST`, the upper one.
#[inline]
pub fn chosen<const HIGH_FIRST: bool>(values: &[f32; 16], codes: &[u8], out: &mut [f32]) {
    let pair = |code: u8| {
        let (low, high) = (values[usize::from(code & 15)], values[usize::from(code >> 4)]);
        if HIGH_FIRST { [high, low] } else { [low, high] }
    };
    let (pairs, rest) = out.as_chunks_mut::<2>();
    for (out, &code) in pairs.iter_mut().zip(codes) {
        *out = pair(code);
    }
    if let (Some(last), Some(&code)) = (rest.first_mut(), codes.get(pairs.len())) {
        *last = pair(code)[0];
    }
}

/// The little-endian 32-bit words from index `at` on.
#[inline]
pub fn words(bytes: &[u8], at: usize) -> &[[u8; 4]] {
    bytes.get(4 * at..).unwrap_or_default().as_chunks().0
}

/// The word at index `at`; 0 where there is none, which the checks rule out.
#[inline]
pub fn word(bytes: &[u8], at: usize) -> u32 {
    words(bytes, at).first().map_or(0, |&word| u32::from_le_bytes(word))
}
