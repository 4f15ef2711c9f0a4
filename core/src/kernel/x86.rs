//! x86-64: AVX2 with FMA, and AVX-512.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __cpuid, __m256, __m512, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm256_broadcast_ss,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_set1_ps, _mm512_storeu_ps,
};
use core::sync::atomic::{AtomicU8, Ordering};

use super::{
    Ahead, Isa, Strided,
    simd::{self, Vector},
    storage::Widen,
};

cpufeatures::new!(has_avx2, "avx2", "fma");
cpufeatures::new!(has_avx512, "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl");

/// Whether the processor converts f16; `cpufeatures` has no name for it. Asked once: under a hypervisor the
/// question is slow.
fn has_f16c() -> bool {
    const UNKNOWN: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == UNKNOWN {
        known = (__cpuid(1).ecx >> 29 & 1) as u8;
        KNOWN.store(known, Ordering::Relaxed);
    }
    known == 1
}

/// The best instruction set of this processor and operating system.
pub(super) fn detect() -> Isa {
    if !has_f16c() {
        Isa::Portable
    } else if has_avx512::get() {
        Isa::Avx512
    } else if has_avx2::get() {
        Isa::Avx2
    } else {
        Isa::Portable
    }
}

/// Conversion of f16 by instruction. Only for code that is compiled for F16C.
pub(super) struct F16c;

impl Widen for F16c {
    #[inline(always)]
    fn widen(bytes: &[u8; 16]) -> [f32; 8] {
        let mut out = [0.0; 8];
        // SAFETY: both arrays have the size of their register; the callers, `avx2` and `avx512` below, run
        // only where the processor has F16C.
        unsafe {
            let halves = _mm_loadu_si128(bytes.as_ptr().cast());
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(halves));
        }
        out
    }
}

impl Vector for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_broadcast_ss(&*from) }
    }
    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    fn prefetch(line: *const u8) {
        // SAFETY: a prefetch reads nothing that the program could see, at any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
    }
}

impl Vector for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_ps(*from) }
    }
    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    fn prefetch(line: *const u8) {
        __m256::prefetch(line);
    }
}

/// C += A·X with AVX2.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::product`); the processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn product_avx2<const W: usize>(
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
            8 => simd::product::<__m256, 8, 1>(a, rows, depth, x, c, ahead),
            16 => simd::product::<__m256, 6, 2>(a, rows, depth, x, c, ahead),
            _ => super::portable::product::<W>(a, rows, depth, x, c),
        }
    }
}

/// C += A·X with AVX-512 where the width fills a register.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::product`); the processor has the features below.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn product_avx512<const W: usize>(
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
            8 => simd::product::<__m256, 16, 1>(a, rows, depth, x, c, ahead),
            16 => simd::product::<__m512, 16, 1>(a, rows, depth, x, c, ahead),
            _ => super::portable::product::<W>(a, rows, depth, x, c),
        }
    }
}

/// The portable routines once more, compiled for a set of features.
macro_rules! compiled_for {
    ($module:ident, $features:literal) => {
        pub(super) mod $module {
            use crate::{
                Delta, Rows,
                kernel::{portable, storage, x86::F16c},
            };

            #[target_feature(enable = $features)]
            pub fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
                storage::difference::<F16c>(base, tuned, out);
            }
            #[target_feature(enable = $features)]
            pub fn decode(rows: Rows<'_>, out: &mut [f32]) {
                storage::decode::<F16c>(rows, out);
            }
            #[target_feature(enable = $features)]
            pub fn measure(values: &[f32], row: usize, delta: &mut Delta) {
                portable::measure(values, row, delta);
            }
            #[target_feature(enable = $features)]
            pub fn dot(x: &[f32], y: &[f32]) -> f32 {
                portable::dot(x, y)
            }
            #[target_feature(enable = $features)]
            pub fn subtract_scaled(x: &mut [f32], f: f32, y: &[f32]) {
                portable::subtract_scaled(x, f, y);
            }
            #[target_feature(enable = $features)]
            pub fn rotate(x: &mut [f32], y: &mut [f32], c: f32, s: f32) {
                portable::rotate(x, y, c, s);
            }
        }
    };
}
compiled_for!(avx2, "avx2,fma,f16c");
compiled_for!(avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl");
