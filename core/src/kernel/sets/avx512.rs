//! AVX-512 without VBMI.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m256, __m512, __m512d, __m512i, _CMP_UNORD_Q, _MM_FROUND_CUR_DIRECTION, _MM_FROUND_TO_NEAREST_INT,
    _mm_loadu_si128, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_abs_ps,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_ps, _mm512_castpd_ps, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvt_roundph_ps, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_cvtps_pd, _mm512_cvtps_ph,
    _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_add_epi32, _mm512_mask_or_epi32, _mm512_max_ps, _mm512_mul_ps, _mm512_permutex2var_epi16,
    _mm512_set1_epi32, _mm512_set1_pd, _mm512_set1_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps,
    _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_storeu_si512,
    _mm512_sub_ps, _mm512_test_epi32_mask,
};

#[cfg(feature = "blocks")]
use super::avx2::nibbles;
use super::{avx2::Avx2, convert::ByAvx512};
use crate::kernel::{
    formats::Bf16,
    isa::{Isa, Op},
    portable::Lanes,
    squares::{self, Squares},
    vector::Vector,
};

/// [`Avx2`] and AVX-512 F, BW, DQ, VL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512;

impl Isa for Avx512 {
    type Vector = __m512;
    type Bf16 = Bf16;
    type Convert = ByAvx512;
    type StripTile = [[__m512; 1]; 16];
    type MergeTile = [[__m512; 4]; 4];
    type ProductTile8 = [[__m256; 1]; 8];
    type ProductTile16 = [[__m512; 1]; 16];
    #[inline(always)]
    unsafe fn measure(values: &[f32], gap: usize, count: usize, lanes: &mut Lanes) -> usize {
        // SAFETY: the caller's promise.
        unsafe { squares::measure::<__m512, 2>(values, gap, count, lanes) }
    }
    #[inline(always)]
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
        // SAFETY: the caller's promise.
        unsafe { Avx2::transpose(from, to) }
    }
}

impl Avx512 {
    /// Whether the processor and its operating system have it.
    pub fn is_there() -> bool {
        Avx2::is_there() && has_avx512::get()
    }

    /// Runs an operation, compiled for the instruction set.
    ///
    /// # Safety
    /// [`Avx512::is_there`] holds.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    pub unsafe fn call<O: Op>(op: O) -> O::Output {
        // SAFETY: the caller's promise.
        unsafe { op.run::<Self>() }
    }
}

cpufeatures::new!(has_avx512, "avx512f", "avx512bw", "avx512dq", "avx512vl");

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
    #[inline(always)]
    unsafe fn scale(self, factor: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_mul_ps(self, _mm512_set1_ps(factor)) }
    }
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
    #[inline(always)]
    unsafe fn load_half(from: *const u8) -> Self {
        // Not the plain conversion: Rust's suppresses exceptions, and that form takes no operand from memory.
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_byte_pair(from: *const u8) -> [Self; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()));
            let high = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.add(16).cast()));
            [_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(high)]
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8, upper: bool) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(nibbles(_mm_loadu_si128(from.cast()), upper))) }
    }
    #[inline(always)]
    unsafe fn store_half(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(self);
            _mm256_storeu_si256(to.cast(), halves);
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            let upper = _mm512_srli_epi32::<16>(bf16(self));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(upper));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_pair(values: [Self; 2], to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            // The upper halves of the lanes of both.
            let order = _mm512_loadu_si512((&raw const UPPER).cast());
            let [low, high] = [bf16(values[0]), bf16(values[1])];
            _mm512_storeu_si512(to.cast(), _mm512_permutex2var_epi16(low, order, high));
        }
    }
    #[inline(always)]
    unsafe fn widen_halves(packed: u64) -> [f32; 4] {
        // SAFETY: the caller's promise.
        unsafe { __m256::widen_halves(packed) }
    }
}

impl Squares for __m512 {
    type Wide = __m512d;
    #[inline(always)]
    unsafe fn load_wide(from: *const f64) -> __m512d {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn store_wide(wide: __m512d, to: *mut f64) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_pd(to, wide) }
    }
    #[inline(always)]
    unsafe fn add_squares(sum: __m512d, from: *const f32) -> __m512d {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = _mm512_cvtps_pd(_mm256_loadu_ps(from));
            _mm512_fmadd_pd(wide, wide, sum)
        }
    }
    #[inline(always)]
    unsafe fn larger(self, most: Self) -> Self {
        // SAFETY: registers alone. The larger of two is the second one where the first is not a number.
        unsafe { _mm512_max_ps(_mm512_abs_ps(self), most) }
    }
}

/// Element j of quarter i is the sum of quarter i of `rows[j]`.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn of_quarters([a, b, c, d]: [__m512; 4]) -> __m512 {
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

/// Where the upper halves of the lanes of two registers are.
static UPPER: [u16; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < order.len() {
        order[i] = (2 * i + 1) as u16;
        i += 1;
    }
    order
};

/// bf16 in the upper halves of lanes: to nearest, ties to even; a NaN stays one.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn bf16(values: __m512) -> __m512i {
    // SAFETY: registers alone.
    unsafe {
        let bits = _mm512_castps_si512(values);
        let odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << 16));
        let rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
        let rounded = _mm512_mask_add_epi32(rounded, odd, rounded, _mm512_set1_epi32(1));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
        _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000))
    }
}
