//! x86-64: AVX2 with FMA, and AVX-512.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m256, __m512, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};

use super::{
    Isa, Strided,
    simd::{self, Vector},
};

cpufeatures::new!(has_avx2, "avx2", "fma");
cpufeatures::new!(has_avx512, "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl");

/// The best instruction set of this processor and operating system.
pub(super) fn detect() -> Isa {
    if has_avx512::get() {
        Isa::Avx512
    } else if has_avx2::get() {
        Isa::Avx2
    } else {
        Isa::Portable
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
) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => simd::product::<__m256, 12, 1>(a, rows, depth, x, c),
            16 => simd::product::<__m256, 6, 2>(a, rows, depth, x, c),
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
) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => simd::product::<__m256, 24, 1>(a, rows, depth, x, c),
            16 => simd::product::<__m512, 24, 1>(a, rows, depth, x, c),
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
                kernel::{portable, storage},
            };

            #[target_feature(enable = $features)]
            pub fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
                storage::difference(base, tuned, out);
            }
            #[target_feature(enable = $features)]
            pub fn decode(rows: Rows<'_>, out: &mut [f32]) {
                storage::decode(rows, out);
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
            pub fn rotate(x: &mut [f32], y: &mut [f32], c: f32, s: f32) {
                portable::rotate(x, y, c, s);
            }
        }
    };
}
compiled_for!(avx2, "avx2,fma");
compiled_for!(avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl");
