//! Fixed pseudo-random numbers, the same on every machine.

/// The `index`-th 64 bits of a fixed sequence (SplitMix64's finaliser over a counter).
pub fn bits(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `index`-th number of a fixed sequence, uniform in −1..1.
pub fn uniform(index: u64) -> f32 {
    // 24 bits, so that every value is exact.
    (bits(index) >> 40) as f32 / (1 << 23) as f32 - 1.0
}
