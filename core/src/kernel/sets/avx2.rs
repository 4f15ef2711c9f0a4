//! AVX2 with FMA and F16C.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __cpuid, __m256, __m256d, __m256i, _CMP_UNORD_Q, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0, _MM_HINT_T1,
    _mm_cvtph_ps, _mm_cvtsi64_si128, _mm_loadl_epi64, _mm_loadu_ps, _mm_loadu_si128, _mm_prefetch,
    _mm_storeu_ps, _mm_storeu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256,
    _mm256_blendv_epi8, _mm256_broadcast_ss, _mm256_castpd_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_cvtps_pd, _mm256_cvtps_ph, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_hadd_ps,
    _mm256_loadu_pd, _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_or_si256, _mm256_packus_epi32,
    _mm256_permute2f128_ps, _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_pd, _mm256_set1_ps,
    _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_pd, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};
#[cfg(feature = "blocks")]
use core::arch::x86_64::{__m128i, _mm_and_si128, _mm_set1_epi8, _mm_srli_epi16, _mm_sub_epi8};
use core::sync::atomic::{AtomicU8, Ordering};

use super::convert::ByAvx2;
use crate::kernel::{
    formats::Bf16,
    isa::{Isa, Op},
    portable::Lanes,
    squares::{self, Squares},
    vector::Vector,
};

/// AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2;

impl Isa for Avx2 {
    type Vector = __m256;
    type Bf16 = Bf16;
    type Convert = ByAvx2;
    type StripTile = [[__m256; 2]; 4];
    type MergeTile = [[__m256; 2]; 4];
    type ProductTile8 = [[__m256; 1]; 8];
    type ProductTile16 = [[__m256; 2]; 6];
    #[inline(always)]
    unsafe fn measure(values: &[f32], gap: usize, count: usize, lanes: &mut Lanes) -> usize {
        // SAFETY: the caller's promise.
        unsafe { squares::measure::<__m256, 4>(values, gap, count, lanes) }
    }
    #[inline(always)]
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
        // SAFETY: the caller's promise.
        unsafe { turn(from, to) }
    }
}

impl Avx2 {
    /// Whether the processor and its operating system have it.
    pub fn is_there() -> bool {
        has_f16c() && has_avx2::get()
    }

    /// Runs an operation, compiled for the instruction set.
    ///
    /// # Safety
    /// [`Avx2::is_there`] holds.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub unsafe fn call<O: Op>(op: O) -> O::Output {
        // SAFETY: the caller's promise.
        unsafe { op.run::<Self>() }
    }
}

cpufeatures::new!(has_avx2, "avx2", "fma");

/// Whether the processor converts f16; `cpufeatures` has no name for it. Asked once: under a hypervisor the
/// question is slow.
fn has_f16c() -> bool {
    const UNKNOWN: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == UNKNOWN {
        // SAFETY: every x86-64 processor has the instruction and leaf 1. The function is safe in newer compilers.
        #[allow(unused_unsafe, reason = "not with the least Rust version")]
        let leaf = unsafe { __cpuid(1) };
        known = (leaf.ecx >> 29 & 1) as u8;
        KNOWN.store(known, Ordering::Relaxed);
    }
    known == 1
}

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
    #[inline(always)]
    unsafe fn scale(self, factor: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_mul_ps(self, _mm256_set1_ps(factor)) }
    }
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
    #[inline(always)]
    unsafe fn load_half(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_byte_pair(from: *const u8) -> [Self; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()));
            let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(8).cast()));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    unsafe fn load_nibbles(from: *const u8, upper: bool) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(nibbles(_mm_loadl_epi64(from.cast()), upper))) }
    }
    #[inline(always)]
    unsafe fn store_half(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(self);
            _mm_storeu_si128(to.cast(), halves);
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(bf16_pairs([self, self])));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_pair(values: [Self; 2], to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_si256(to.cast(), bf16_pairs(values));
        }
    }
    #[inline(always)]
    unsafe fn widen_halves(packed: u64) -> [f32; 4] {
        // SAFETY: the caller's promise; four elements are written.
        unsafe {
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), _mm_cvtph_ps(_mm_cvtsi64_si128(packed.cast_signed())));
            out
        }
    }
}

impl Squares for __m256 {
    type Wide = __m256d;
    #[inline(always)]
    unsafe fn load_wide(from: *const f64) -> __m256d {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn store_wide(wide: __m256d, to: *mut f64) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_pd(to, wide) }
    }
    #[inline(always)]
    unsafe fn add_squares(sum: __m256d, from: *const f32) -> __m256d {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = _mm256_cvtps_pd(_mm_loadu_ps(from));
            _mm256_fmadd_pd(wide, wide, sum)
        }
    }
    #[inline(always)]
    unsafe fn larger(self, most: Self) -> Self {
        // SAFETY: registers alone. The larger of two is the second one where the first is not a number.
        unsafe {
            let magnitude = _mm256_and_ps(self, _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX)));
            _mm256_max_ps(magnitude, most)
        }
    }
}

/// The lower or upper halves of bytes, less 8.
///
/// # Safety
/// The processor has SSE2.
#[cfg(feature = "blocks")]
#[inline(always)]
pub(super) unsafe fn nibbles(bytes: __m128i, upper: bool) -> __m128i {
    // SAFETY: registers alone.
    unsafe {
        let bytes = if upper { _mm_srli_epi16::<4>(bytes) } else { bytes };
        _mm_sub_epi8(_mm_and_si128(bytes, _mm_set1_epi8(15)), _mm_set1_epi8(8))
    }
}

/// bf16 in the upper halves of lanes: to nearest, ties to even; a NaN stays one.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn bf16(values: __m256) -> __m256i {
    // SAFETY: registers alone.
    unsafe {
        let bits = _mm256_castps_si256(values);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
        _mm256_blendv_epi8(rounded, quiet, nan)
    }
}

/// The upper halves of the lanes of both, in order.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn bf16_pairs([low, high]: [__m256; 2]) -> __m256i {
    // SAFETY: registers alone.
    unsafe {
        let [low, high] = [bf16(low), bf16(high)];
        let packed = _mm256_packus_epi32(_mm256_srli_epi32::<16>(low), _mm256_srli_epi32::<16>(high));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(packed)
    }
}

/// A square of 8 × 8, turned over its diagonal: pairs of rows interleaved, then quarters, then halves.
///
/// # Safety
/// Rows of eight elements, `from_row` and `to_row` apart, are there; the processor has AVX.
#[inline(always)]
unsafe fn turn((from, from_row): (*const f32, usize), (to, to_row): (*mut f32, usize)) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [_mm256_loadu_ps(from); 8];
        for (i, row) in row.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i * from_row));
        }
        let mut pair = row;
        for i in [0, 2, 4, 6] {
            pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
            pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
        }
        let mut four = row;
        for i in [0, 4] {
            for half in 0..2 {
                let (low, high) = (pair[i + half], pair[i + half + 2]);
                four[i + 2 * half] = _mm256_shuffle_ps::<0x44>(low, high);
                four[i + 2 * half + 1] = _mm256_shuffle_ps::<0xee>(low, high);
            }
        }
        for i in 0..4 {
            let (low, high) = (four[i], four[i + 4]);
            _mm256_storeu_ps(to.add(i * to_row), _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(to.add((i + 4) * to_row), _mm256_permute2f128_ps::<0x31>(low, high));
        }
    }
}
