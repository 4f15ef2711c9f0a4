//! NEON.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::aarch64::{
    float32x4_t, uint16x4_t, vaddq_f32, vaddq_u32, vand_u8, vandq_u32, vbslq_u32, vceqq_f32, vcreate_u16,
    vcvtq_f32_s32, vdup_n_s8, vdup_n_u8, vdup_n_u32, vdupq_n_u32, vfmaq_f32, vget_high_s16, vget_low_s16,
    vld1_s8, vld1_u16, vld1q_dup_f32, vld1q_dup_f64, vld1q_f32, vmovl_s8, vmovl_s16, vmovn_u32, vmulq_n_f32,
    vorrq_u32, vpaddq_f32, vreinterpret_s8_u8, vreinterpret_u8_u32, vreinterpretq_f32_f64,
    vreinterpretq_f32_u32, vreinterpretq_u32_f32, vshll_n_u16, vshr_n_u8, vshrq_n_u32, vst1_u16, vst1q_f32,
    vsub_s8, vsubq_f32,
};

use crate::{
    format::convert::ByInteger,
    kernel::{
        formats::Bf16,
        isa::{Isa, Op},
        vector::Vector,
    },
};

/// NEON, which every 64-bit Arm processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon;

impl Isa for Neon {
    type Vector = float32x4_t;
    type Bf16 = Bf16;
    type Convert = ByInteger;
    type StripTile = [[float32x4_t; 4]; 4];
    type MergeTile = [[float32x4_t; 4]; 4];
    type ProductTile8 = [[float32x4_t; 2]; 12];
    type ProductTile16 = [[float32x4_t; 4]; 6];
}

impl Neon {
    /// Whether the processor has it.
    pub const fn is_there() -> bool {
        true
    }

    /// Runs an operation, compiled for the instruction set.
    ///
    /// # Safety
    /// [`Neon::is_there`] holds.
    pub unsafe fn call<O: Op>(op: O) -> O::Output {
        // SAFETY: the caller's promise.
        unsafe { op.run::<Self>() }
    }
}

impl Vector for float32x4_t {
    const LANES: usize = 4;
    const REGISTERS: usize = 32;
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
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned reads")]
    unsafe fn splat_pair(from: *const f32) -> Self {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe { vreinterpretq_f32_f64(vld1q_dup_f64(from.cast())) }
    }
    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vfmaq_f32(self, a, b) }
    }
    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vaddq_f32(self, a) }
    }
    #[inline(always)]
    unsafe fn subtract(self, a: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vsubq_f32(self, a) }
    }
    #[inline(always)]
    unsafe fn keep(self, mask: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(self), vreinterpretq_u32_f32(mask))) }
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
    #[inline(always)]
    fn prefetch_near(line: *const u8) {
        // SAFETY: as above.
        unsafe {
            core::arch::asm!(
                "prfm pldl1keep, [{0}]",
                in(reg) line,
                options(nostack, preserves_flags, readonly)
            );
        }
    }
    #[inline(always)]
    unsafe fn scale(self, factor: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vmulq_n_f32(self, factor) }
    }
    #[inline(always)]
    unsafe fn sums(rows: *const Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vpaddq_f32(vpaddq_f32(*rows, *rows.add(1)), vpaddq_f32(*rows.add(2), *rows.add(3))) }
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned accesses")]
    unsafe fn load_half(from: *const u8) -> Self {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe { widen(vld1_u16(from.cast())) }
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned accesses")]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_byte_pair(from: *const u8) -> [Self; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = vmovl_s8(vld1_s8(from.cast()));
            [vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)))]
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8, upper: bool) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let four = vreinterpret_u8_u32(vdup_n_u32(from.cast::<u32>().read_unaligned()));
            let four = if upper { vshr_n_u8::<4>(four) } else { vand_u8(four, vdup_n_u8(15)) };
            let four = vsub_s8(vreinterpret_s8_u8(four), vdup_n_s8(8));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four))))
        }
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned accesses")]
    unsafe fn store_half(self, to: *mut u8) {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe {
            vst1_u16(to.cast(), narrow(self));
        }
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned accesses")]
    unsafe fn store_bf16(self, to: *mut u8) {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe {
            let bits = vreinterpretq_u32_f32(self);
            let upper = vshrq_n_u32::<16>(bits);
            let odd = vandq_u32(upper, vdupq_n_u32(1));
            let rounded = vaddq_u32(vaddq_u32(bits, odd), vdupq_n_u32(0x7fff));
            // A NaN, which does not equal itself, stays one.
            let quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
            let chosen = vbslq_u32(vceqq_f32(self, self), vshrq_n_u32::<16>(rounded), quiet);
            vst1_u16(to.cast(), vmovn_u32(chosen));
        }
    }
    #[inline(always)]
    unsafe fn widen_halves(packed: u64) -> [f32; 4] {
        // SAFETY: the caller's promise; four elements are written.
        unsafe {
            let mut out = [0.0; 4];
            widen(vcreate_u16(packed)).store(out.as_mut_ptr());
            out
        }
    }
}

/// Four f16 widened. Every processor with NEON has the instruction; the intrinsic is not stable yet.
#[inline(always)]
fn widen(halves: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: registers alone.
    unsafe {
        core::arch::asm!(
            "fcvtl {0:v}.4s, {1:v}.4h",
            out(vreg) wide,
            in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    wide
}

/// Four numbers rounded to f16, as [`widen`].
#[inline(always)]
fn narrow(wide: float32x4_t) -> uint16x4_t {
    let halves: uint16x4_t;
    // SAFETY: registers alone.
    unsafe {
        core::arch::asm!(
            "fcvtn {0:v}.4h, {1:v}.4s",
            out(vreg) halves,
            in(vreg) wide,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    halves
}
