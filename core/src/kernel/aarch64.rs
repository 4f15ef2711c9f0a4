//! 64-bit Arm: NEON, which every such processor has.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::aarch64::{float32x4_t, vfmaq_f32, vld1q_dup_f32, vld1q_f32, vst1q_f32};

use super::{
    Ahead, Strided,
    simd::{self, Vector},
};

impl Vector for float32x4_t {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to, self) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vld1q_dup_f32(from) }
    }
    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vfmaq_f32(self, a, b) }
    }
    #[inline(always)]
    fn prefetch(line: *const u8) {
        // SAFETY: a prefetch changes nothing that the program could see; the intrinsic is not stable yet.
        unsafe {
            core::arch::asm!(
                "prfm pldl2keep, [{0}]",
                in(reg) line,
                options(nostack, preserves_flags, readonly)
            );
        }
    }
}

/// C += A·X with NEON.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::product`).
pub(super) unsafe fn product<const W: usize>(
    a: Strided<'_>,
    rows: usize,
    depth: usize,
    x: &[f32],
    c: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => simd::product::<float32x4_t, 12, 2>(a, rows, depth, x, c, ahead),
            16 => simd::product::<float32x4_t, 6, 4>(a, rows, depth, x, c, ahead),
            _ => super::portable::product::<W>(a, rows, depth, x, c),
        }
    }
}
