//! The vectors that the IQ1, IQ2 and IQ3 formats choose from, packed: `grids.bin` holds them as ggml decodes them
//! (`tests/interop/ggml_reference.py grids` writes it anew), each in a little-endian u16: eight digits of 2 bits,
//! or four of 4 bits, the first one lowest.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

const PACKED: &[u8; 9216] = include_bytes!("grids.bin");

pub static IQ2_XXS: [u16; 256] = unpacked(0);
pub static IQ2_XS: [u16; 512] = unpacked(256);
pub static IQ2_S: [u16; 1024] = unpacked(768);
pub static IQ3_XXS: [u16; 256] = unpacked(1792);
pub static IQ3_S: [u16; 512] = unpacked(2048);
pub static IQ1: [u16; 2048] = unpacked(2560);

/// Vectors `first`… of the file.
const fn unpacked<const N: usize>(first: usize) -> [u16; N] {
    let mut grid = [0; N];
    let mut i = 0;
    while i < N {
        grid[i] = u16::from_le_bytes([PACKED[2 * (first + i)], PACKED[2 * (first + i) + 1]]);
        i += 1;
    }
    grid
}

/// 1 in every byte.
pub const ONES: u64 = 0x0101_0101_0101_0101;

/// Eight digits of 2 bits, a byte for each.
#[inline(always)]
pub const fn pairs(packed: u16) -> u64 {
    let packed = packed as u64;
    let packed = (packed | packed << 24) & 0x0000_00ff_0000_00ff;
    let packed = (packed | packed << 12) & 0x000f_000f_000f_000f;
    (packed | packed << 6) & (3 * ONES)
}

/// Twice four digits of 4 bits, a byte for each.
#[inline(always)]
pub const fn fours([first, second]: [u16; 2]) -> u64 {
    let packed = first as u64 | (second as u64) << 32;
    let packed = (packed | packed << 8) & 0x00ff_00ff_00ff_00ff;
    (packed | packed << 4) & (15 * ONES)
}

/// The bits of `byte`, a byte for each.
#[inline(always)]
pub const fn bits(byte: u8) -> u64 {
    // In each byte its own bit, then 128 where that is set: nothing is carried on.
    let own = (byte as u64 * ONES) & 0x8040_2010_0804_0201;
    ((own + 0x0040_6070_787c_7e7f) >> 7) & ONES
}

/// Writes `d` times the bytes of `values`, from 1 to 127, negated where the bit of `signs` is set.
#[inline(always)]
pub fn put_signed(values: u64, signs: u8, d: f32, out: &mut [f32; 8]) {
    let ones = bits(signs);
    let bytes = ((values ^ (255 * ones)) + ones).to_le_bytes();
    let mut values = [0.0; 8];
    for i in 0..8 {
        values[i] = d * f32::from(bytes[i].cast_signed());
    }
    *out = values;
}

/// Eight signs from the lowest seven bits: an even number of them is set.
#[inline(always)]
pub const fn even_signs(bits: u32) -> u8 {
    let bits = bits as u8 & 127;
    bits | (bits.count_ones() as u8 & 1) << 7
}
