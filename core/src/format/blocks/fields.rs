//! Fields at fixed offsets of a block.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::format::elements::half;

/// The `N` bytes of a block from `at` on.
#[inline(always)]
pub fn field<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    // Both numbers are constants within the block, so the other case is never compiled in.
    block.get(at..).and_then(<[u8]>::first_chunk).unwrap_or(const { &[0; N] })
}

/// The f16 of a block at `at`.
#[inline(always)]
pub fn scale(block: &[u8], at: usize) -> f32 {
    half(*field(block, at))
}
