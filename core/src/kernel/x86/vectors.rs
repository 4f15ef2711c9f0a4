//! The vectors of AVX2 and of AVX-512, and the sums of their lanes.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m256, __m512, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_add_ps, _mm256_and_ps,
    _mm256_broadcast_ss, _mm256_castpd_ps, _mm256_fmadd_ps, _mm256_hadd_ps, _mm256_loadu_ps,
    _mm256_permute2f128_ps, _mm256_set1_pd, _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps, _mm512_and_ps,
    _mm512_castpd_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_shuffle_f32x4,
    _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use crate::kernel::simd::{Reduce, Vector};

impl Vector for __m256 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
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
    unsafe fn splat_pair(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_castpd_ps(_mm256_set1_pd(from.cast::<f64>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_add_ps(self, a) }
    }
    #[inline(always)]
    unsafe fn subtract(self, a: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_sub_ps(self, a) }
    }
    #[inline(always)]
    unsafe fn keep(self, mask: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_and_ps(self, mask) }
    }
    #[inline(always)]
    fn prefetch(line: *const u8) {
        // SAFETY: a prefetch reads nothing that the program could see, at any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
    }
    #[inline(always)]
    fn prefetch_near(line: *const u8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }
}

impl Vector for __m512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
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
    unsafe fn splat_pair(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_castpd_ps(_mm512_set1_pd(from.cast::<f64>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn fused(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_add_ps(self, a) }
    }
    #[inline(always)]
    unsafe fn subtract(self, a: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_sub_ps(self, a) }
    }
    #[inline(always)]
    unsafe fn keep(self, mask: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_and_ps(self, mask) }
    }
    #[inline(always)]
    fn prefetch(line: *const u8) {
        __m256::prefetch(line);
    }
    #[inline(always)]
    fn prefetch_near(line: *const u8) {
        __m256::prefetch_near(line);
    }
    #[inline(always)]
    #[expect(clippy::pointers_in_nomem_asm_block, reason = "there is no instruction that could use it")]
    fn alone(mut pointer: *const f32) -> *const f32 {
        // SAFETY: no instruction; the compiler does not know how the pointer came about.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
        }
        pointer
    }
}

impl Reduce for __m256 {
    #[inline(always)]
    unsafe fn sums(rows: *const Self) -> Self {
        /// Rows i and i + 4 of halves added up, side by side.
        #[inline(always)]
        unsafe fn half(rows: *const __m256, i: usize) -> __m256 {
            // SAFETY: the caller's promise.
            unsafe {
                let (low, high) = (*rows.add(i), *rows.add(i + 4));
                _mm256_add_ps(
                    _mm256_permute2f128_ps::<0x20>(low, high),
                    _mm256_permute2f128_ps::<0x31>(low, high),
                )
            }
        }
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_hadd_ps(
                _mm256_hadd_ps(half(rows, 0), half(rows, 1)),
                _mm256_hadd_ps(half(rows, 2), half(rows, 3)),
            )
        }
    }
}

impl Reduce for __m512 {
    #[inline(always)]
    unsafe fn sums(rows: *const Self) -> Self {
        // Halves onto halves, the rows of a result side by side: i and i + 4, then + 8, then + 1 and + 2 in each quarter.
        /// Two rows of eight lanes.
        #[inline(always)]
        unsafe fn half(rows: *const __m512, i: usize) -> __m512 {
            // SAFETY: the caller's promise.
            unsafe {
                let (low, high) = (*rows.add(i), *rows.add(i + 4));
                _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x44>(low, high),
                    _mm512_shuffle_f32x4::<0xee>(low, high),
                )
            }
        }
        /// Four rows of four lanes.
        #[inline(always)]
        unsafe fn quarter(rows: *const __m512, i: usize) -> __m512 {
            // SAFETY: the caller's promise.
            unsafe {
                let (low, high) = (half(rows, i), half(rows, i + 8));
                _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x88>(low, high),
                    _mm512_shuffle_f32x4::<0xdd>(low, high),
                )
            }
        }
        // SAFETY: the caller's promise.
        unsafe { of_quarters([quarter(rows, 0), quarter(rows, 1), quarter(rows, 2), quarter(rows, 3)]) }
    }
}

/// Element j of quarter i is the sum of quarter i of `rows[j]`.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
pub(super) unsafe fn of_quarters([a, b, c, d]: [__m512; 4]) -> __m512 {
    /// Two rows' quarters of two lanes.
    #[inline(always)]
    unsafe fn eighth(low: __m512, high: __m512) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_add_ps(_mm512_shuffle_ps::<0x44>(low, high), _mm512_shuffle_ps::<0xee>(low, high)) }
    }
    // SAFETY: the caller's promise.
    unsafe {
        let (low, high) = (eighth(a, b), eighth(c, d));
        _mm512_add_ps(_mm512_shuffle_ps::<0x88>(low, high), _mm512_shuffle_ps::<0xdd>(low, high))
    }
}
