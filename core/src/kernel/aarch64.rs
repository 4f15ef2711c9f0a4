//! 64-bit Arm: NEON, which every such processor has.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::aarch64::{
    float32x4_t, uint16x4_t, vaddq_f32, vaddq_u32, vandq_u32, vbslq_u32, vceqq_f32, vcvtq_f32_s32,
    vdupq_n_u32, vfmaq_f32, vget_high_s16, vget_low_s16, vld1_s8, vld1_u16, vld1q_dup_f32, vld1q_dup_f64,
    vld1q_f32, vmovl_s8, vmovl_s16, vmovn_u32, vmulq_n_f32, vorrq_u32, vpaddq_f32, vreinterpretq_f32_f64,
    vreinterpretq_f32_u32, vreinterpretq_u32_f32, vshll_n_u16, vshrq_n_u32, vst1_u16, vst1q_f32, vsubq_f32,
};

use super::{
    Ahead, Blocks, Lines, Strided, Tile,
    bytes::Bytes,
    fresh,
    merge::{self, Sink, Stored},
    short,
    simd::{self, Blocks8, Brain, Half, Reduce, Single, Source, Vector},
    thin, tile,
};
use crate::Dtype;

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
}

/// Asks for all of `bytes`.
pub(super) fn ask(bytes: &[u8]) {
    simd::ask::<float32x4_t>(bytes);
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
) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => thin::product::<float32x4_t, 12, 2>(a, rows, depth, x, c),
            16 => thin::product::<float32x4_t, 6, 4>(a, rows, depth, x, c),
            _ => super::portable::product::<W>(a, rows, depth, x, c),
        }
    }
}

impl Reduce for float32x4_t {
    #[inline(always)]
    unsafe fn sums(rows: *const Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { vpaddq_f32(vpaddq_f32(*rows, *rows.add(1)), vpaddq_f32(*rows.add(2), *rows.add(3))) }
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

impl Source<float32x4_t> for Single {
    const LINES: usize = 2;
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned loads")]
    unsafe fn load(self, row: *const u8, j: usize) -> float32x4_t {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe { vld1q_f32(row.cast::<f32>().add(j)) }
    }
}

impl Source<float32x4_t> for Half {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned loads")]
    unsafe fn load(self, row: *const u8, j: usize) -> float32x4_t {
        // SAFETY: as above.
        widen(unsafe { vld1_u16(row.cast::<u16>().add(j)) })
    }
}

impl Source<float32x4_t> for Brain {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned loads")]
    unsafe fn load(self, row: *const u8, j: usize) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(row.cast::<u16>().add(j)))) }
    }
}

impl Source<float32x4_t> for Blocks8 {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    unsafe fn load(self, row: *const u8, j: usize) -> float32x4_t {
        // SAFETY: as above; eight bytes are read where four are wanted, all of them in the block.
        unsafe {
            let block = row.add(j / 32 * 34);
            let scale = f32::from(half::f16::from_bits(block.cast::<u16>().read_unaligned()));
            let (eight, upper) = (j % 32 / 8 * 8, j % 8 != 0);
            let wide = vmovl_s8(vld1_s8(block.add(2 + eight).cast()));
            let four = if upper { vget_high_s16(wide) } else { vget_low_s16(wide) };
            vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(four)), scale)
        }
    }
}

impl Bytes for float32x4_t {
    #[inline(always)]
    unsafe fn widen_pair(from: *const u8) -> [Self; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = vmovl_s8(vld1_s8(from.cast()));
            [vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)))]
        }
    }
    #[inline(always)]
    unsafe fn widen_halves(packed: u64) -> [f32; 4] {
        let (bytes, mut out) = (packed.to_le_bytes(), [0.0; 4]);
        // SAFETY: four elements are read and written.
        unsafe {
            let halves = <Half as Source<Self>>::new();
            Source::<Self>::load(halves, bytes.as_ptr(), 0).store(out.as_mut_ptr());
        }
        out
    }
}

/// `out[i][t]` = (row i)·x\[t\]; false, and nothing done, for a format without loads of its own.
///
/// # Safety
/// `bytes` holds `out.len()` rows of as many elements as each x has, `row_bytes` apart.
pub(super) unsafe fn dots<const T: usize>(
    dtype: Dtype,
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            Dtype::F32 => short::dots::<float32x4_t, Single, T>(bytes, row_bytes, x, out),
            Dtype::F16 => short::dots::<float32x4_t, Half, T>(bytes, row_bytes, x, out),
            Dtype::Bf16 => short::dots::<float32x4_t, Brain, T>(bytes, row_bytes, x, out),
            dtype if dtype.is_q8_0() => simd::dots::<float32x4_t, Blocks8, T>(bytes, row_bytes, x, out),
            _ => return false,
        }
    }
    true
}

impl Sink<float32x4_t> for Single {
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned stores")]
    unsafe fn store(self, values: float32x4_t, row: *mut u8, j: usize) {
        // SAFETY: the caller's promise; no alignment is needed.
        unsafe { vst1q_f32(row.cast::<f32>().add(j), values) }
    }
}

impl Sink<float32x4_t> for Half {
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned stores")]
    unsafe fn store(self, values: float32x4_t, row: *mut u8, j: usize) {
        // SAFETY: as above.
        unsafe { vst1_u16(row.cast::<u16>().add(j), narrow(values)) }
    }
}

impl Sink<float32x4_t> for Brain {
    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "unaligned stores")]
    unsafe fn store(self, values: float32x4_t, row: *mut u8, j: usize) {
        // SAFETY: as above.
        unsafe {
            let bits = vreinterpretq_u32_f32(values);
            let upper = vshrq_n_u32::<16>(bits);
            let odd = vandq_u32(upper, vdupq_n_u32(1));
            let rounded = vaddq_u32(vaddq_u32(bits, odd), vdupq_n_u32(0x7fff));
            // A NaN, which does not equal itself, stays one.
            let quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
            let chosen = vbslq_u32(vceqq_f32(values, values), vshrq_n_u32::<16>(rounded), quiet);
            vst1_u16(row.cast::<u16>().add(j), vmovn_u32(chosen));
        }
    }
}

/// The lanes of Y += D·X with NEON.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::forward`).
pub(super) unsafe fn forward<const W: usize>(d: Blocks<'_>, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>) {
    // SAFETY: the caller's promise.
    unsafe { tile::forward::<float32x4_t, 4, 4, W>(d, x, y, ahead) }
}

/// D = tuned − base, both of one format or the base in D before, and [`forward`] with them; false, and nothing done, for a
/// format without loads of its own.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::difference_forward`).
pub(super) unsafe fn fresh<const W: usize>(
    (base, tuned): (Option<Lines<'_>>, Lines<'_>),
    cols: usize,
    data: &mut [f32],
    x: &[f32],
    y: &mut [f32],
    ahead: &mut Ahead<'_>,
) -> bool {
    let sides = [base.unwrap_or(tuned), tuned];
    macro_rules! from {
        ($source:ty, $laid:literal) => {
            fresh::fresh::<float32x4_t, $source, 4, 4, W, $laid>(sides, cols, data, x, y, ahead)
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        match (tuned.dtype, base.is_none()) {
            (Dtype::F32, false) => from!(Single, false),
            (Dtype::F16, false) => from!(Half, false),
            (Dtype::Bf16, false) => from!(Brain, false),
            (Dtype::F32, true) => from!(Single, true),
            (Dtype::F16, true) => from!(Half, true),
            (Dtype::Bf16, true) => from!(Brain, true),
            _ => return false,
        }
    }
    true
}

/// Z += Dᵀ·Y with NEON, from the lanes of Y.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::backward`).
pub(super) unsafe fn backward<const W: usize>(
    d: Blocks<'_>,
    y: &[f32],
    z: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::backward::<float32x4_t, 4, 4, W>(d, y, z, ahead) }
}

/// Adds `values` to elements of f16 as far as whole vectors go; gives how many these are.
///
/// # Safety
/// `row` holds as many elements as `values`.
pub(super) unsafe fn add_half(values: &[f32], row: *mut u8) -> usize {
    // SAFETY: the caller's promise.
    unsafe { merge::add::<float32x4_t, Half>(values, row) }
}

/// W += Yᵀ·D with NEON for weights of a format with stores of its own; nothing for others.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::merge_rows`).
pub(super) unsafe fn merge_rows<const W: usize>(
    tile: Tile<'_>,
    y: &[f32],
    (dtype, weights): (Dtype, Stored),
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            Dtype::F32 => merge::merge_rows::<float32x4_t, Single, 4, 4, W>(tile, y, weights, ahead),
            Dtype::F16 => merge::merge_rows::<float32x4_t, Half, 4, 4, W>(tile, y, weights, ahead),
            Dtype::Bf16 => merge::merge_rows::<float32x4_t, Brain, 4, 4, W>(tile, y, weights, ahead),
            _ => {}
        }
    }
}
