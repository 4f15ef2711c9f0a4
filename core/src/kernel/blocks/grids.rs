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

/// Digit `i` of `BITS` bits.
#[inline(always)]
pub const fn digit<const BITS: usize>(packed: u16, i: usize) -> i16 {
    (packed >> (BITS * i) & ((1 << BITS) - 1)).cast_signed()
}

/// `value`, negated where bit `i` of `signs` is set.
#[inline(always)]
pub const fn signed(value: i16, signs: u8, i: usize) -> i16 {
    if signs >> i & 1 == 1 { -value } else { value }
}

/// Eight signs from the lowest seven bits: an even number of them is set.
#[inline(always)]
pub const fn even_signs(bits: u32) -> u8 {
    let bits = bits as u8 & 127;
    bits | (bits.count_ones() as u8 & 1) << 7
}
