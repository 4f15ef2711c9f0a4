//! Conversions by instructions, for the portable loops over storage formats.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

#[cfg(feature = "blocks")]
use core::arch::x86_64::{
    __m256i, __m512i, _mm_cvtsi128_si32, _mm_max_epi32, _mm_shuffle_epi32, _mm256_add_ps, _mm256_and_ps,
    _mm256_and_si256, _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi32, _mm256_cvttps_epi32,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_max_epi32, _mm256_min_epi32, _mm256_movemask_epi8,
    _mm256_mul_ps, _mm256_or_ps, _mm256_or_si256, _mm256_packs_epi16, _mm256_packs_epi32,
    _mm256_packus_epi16, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32,
    _mm256_storeu_si256, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_castsi512_si256, _mm512_cmpeq_epi32_mask, _mm512_cvtepi32_epi8, _mm512_cvttps_epi32,
    _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_max_epi32, _mm512_min_epi32, _mm512_mul_ps,
    _mm512_or_si512, _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_ternarylogic_epi32,
};
use core::arch::x86_64::{
    _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_cvtph_ps, _mm256_cvtps_ph,
    _mm256_loadu_ps, _mm256_storeu_ps,
};

use crate::format::convert::Convert;

/// By AVX2 and F16C. Only for code that is compiled for them.
pub struct ByAvx2;

/// By AVX-512 F and BW where it is faster. Only for code that is compiled for them and for AVX2 and F16C.
pub struct ByAvx512;

/// The largest f32 below a half: with a half itself a sum could round up to the next integer.
#[cfg(feature = "blocks")]
const HALF: f32 = 0.5f32.next_down();

/// Where the fours of four packed registers are: packing works in halves of a register.
#[cfg(feature = "blocks")]
const PACKED: [i32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The largest of eight integers that are not negative.
///
/// # Safety
/// The processor has AVX2.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn largest(eight: __m256i) -> u32 {
    // SAFETY: registers alone.
    unsafe {
        let most = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
        let most = _mm_max_epi32(most, _mm_shuffle_epi32::<0b01_00_11_10>(most));
        let most = _mm_max_epi32(most, _mm_shuffle_epi32::<0b10_11_00_01>(most));
        _mm_cvtsi128_si32(most).cast_unsigned()
    }
}

/// Bits of the `i`-th eight values without their signs: in the order of magnitudes.
///
/// # Safety
/// There are as many values; the processor has AVX2.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn magnitudes_256(values: &[f32; 32], i: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm256_castps_si256(_mm256_loadu_ps(values.as_ptr().add(8 * i)));
        _mm256_and_si256(bits, _mm256_set1_epi32(i32::MAX))
    }
}

/// The same of the `i`-th sixteen.
///
/// # Safety
/// There are as many values; the processor has AVX-512 F.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn magnitudes_512(values: &[f32; 32], i: usize) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let bits = _mm512_castps_si512(_mm512_loadu_ps(values.as_ptr().add(16 * i)));
        _mm512_and_si512(bits, _mm512_set1_epi32(i32::MAX))
    }
}

/// Integers from 0 to 15 of the `i`-th eight values, as [`Convert::nibbles`] has them.
///
/// # Safety
/// There are as many values; the processor has AVX2.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn nibbles_256(values: &[f32; 32], i: usize, factor: f32, zero: f32) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let value = _mm256_mul_ps(_mm256_loadu_ps(values.as_ptr().add(8 * i)), _mm256_set1_ps(factor));
        let whole = _mm256_cvttps_epi32(_mm256_add_ps(value, _mm256_set1_ps(zero)));
        _mm256_min_epi32(whole, _mm256_set1_epi32(15))
    }
}

/// The same of the `i`-th sixteen.
///
/// # Safety
/// There are as many values; the processor has AVX-512 F.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn nibbles_512(values: &[f32; 32], i: usize, factor: f32, zero: f32) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let value = _mm512_mul_ps(_mm512_loadu_ps(values.as_ptr().add(16 * i)), _mm512_set1_ps(factor));
        let whole = _mm512_cvttps_epi32(_mm512_add_ps(value, _mm512_set1_ps(zero)));
        _mm512_min_epi32(whole, _mm512_set1_epi32(15))
    }
}

/// The `i`-th eight values as the nearest integers, as [`Convert::bytes`] has them.
///
/// # Safety
/// There are as many values; the processor has AVX2.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn nearest_256(values: &[f32; 32], i: usize, factor: f32) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let value = _mm256_mul_ps(_mm256_loadu_ps(values.as_ptr().add(8 * i)), _mm256_set1_ps(factor));
        let half = _mm256_or_ps(_mm256_set1_ps(HALF), _mm256_and_ps(value, _mm256_set1_ps(-0.0)));
        _mm256_cvttps_epi32(_mm256_add_ps(value, half))
    }
}

impl Convert for ByAvx2 {
    #[inline(always)]
    fn widen(bytes: &[u8; 16]) -> [f32; 8] {
        let mut out = [0.0; 8];
        // SAFETY: both arrays have the size of their register; only operations of the two
        // instruction sets come here, where the processor has F16C.
        unsafe {
            let halves = _mm_loadu_si128(bytes.as_ptr().cast());
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(halves));
        }
        out
    }
    #[inline(always)]
    fn narrow(values: &[f32; 8]) -> [u8; 16] {
        let mut out = [0; 16];
        // SAFETY: as above.
        unsafe {
            let halves = _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(_mm256_loadu_ps(values.as_ptr()));
            _mm_storeu_si128(out.as_mut_ptr().cast(), halves);
        }
        out
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn largest(values: &[f32; 32]) -> u32 {
        // SAFETY: four registers fill the array; AVX2 as above.
        unsafe {
            let most = _mm256_max_epi32(
                _mm256_max_epi32(magnitudes_256(values, 0), magnitudes_256(values, 1)),
                _mm256_max_epi32(magnitudes_256(values, 2), magnitudes_256(values, 3)),
            );
            largest(most)
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn first_largest(values: &[f32; 32], largest: u32) -> f32 {
        // SAFETY: four registers fill the array; AVX2 as above.
        let found = unsafe {
            let largest = _mm256_set1_epi32(largest.cast_signed());
            let mut found = [largest; 4];
            for (i, found) in found.iter_mut().enumerate() {
                *found = _mm256_cmpeq_epi32(magnitudes_256(values, i), largest);
            }
            // A bit per byte: the order of packing stays to be undone.
            let packed = _mm256_packs_epi16(
                _mm256_packs_epi32(found[0], found[1]),
                _mm256_packs_epi32(found[2], found[3]),
            );
            _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(
                packed,
                _mm256_loadu_si256(PACKED.as_ptr().cast()),
            ))
        };
        values.get(found.trailing_zeros() as usize).copied().unwrap_or(0.0)
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn nibbles(values: &[f32; 32], factor: f32, zero: f32, out: &mut [u8; 16]) {
        // SAFETY: four registers fill the values, one of half the size the bytes; AVX2 as above.
        unsafe {
            let mut both = [_mm256_set1_epi32(0); 2];
            for (i, both) in both.iter_mut().enumerate() {
                let upper = _mm256_slli_epi32::<4>(nibbles_256(values, i + 2, factor, zero));
                *both = _mm256_or_si256(nibbles_256(values, i, factor, zero), upper);
            }
            // Packed in halves of a register: each four twice, of which the order takes the first.
            let packed = _mm256_packs_epi32(both[0], both[1]);
            let packed = _mm256_packus_epi16(packed, packed);
            let ordered = _mm256_permutevar8x32_epi32(packed, _mm256_loadu_si256(PACKED.as_ptr().cast()));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(ordered));
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn bytes(values: &[f32; 32], factor: f32, out: &mut [u8; 32]) {
        // SAFETY: four registers fill the values, one the bytes; AVX2 as above.
        unsafe {
            let packed = _mm256_packs_epi16(
                _mm256_packs_epi32(nearest_256(values, 0, factor), nearest_256(values, 1, factor)),
                _mm256_packs_epi32(nearest_256(values, 2, factor), nearest_256(values, 3, factor)),
            );
            let order = _mm256_loadu_si256(PACKED.as_ptr().cast());
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_permutevar8x32_epi32(packed, order));
        }
    }
}

impl Convert for ByAvx512 {
    #[inline(always)]
    fn widen(bytes: &[u8; 16]) -> [f32; 8] {
        ByAvx2::widen(bytes)
    }
    #[inline(always)]
    fn narrow(values: &[f32; 8]) -> [u8; 16] {
        ByAvx2::narrow(values)
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn largest(values: &[f32; 32]) -> u32 {
        // SAFETY: two registers fill the array; the features as above.
        unsafe {
            let most = _mm512_max_epi32(magnitudes_512(values, 0), magnitudes_512(values, 1));
            let upper = _mm512_extracti64x4_epi64::<1>(most);
            largest(_mm256_max_epi32(_mm512_castsi512_si256(most), upper))
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn first_largest(values: &[f32; 32], largest: u32) -> f32 {
        // SAFETY: two registers fill the array; the features as above.
        let found = unsafe {
            let largest = _mm512_set1_epi32(largest.cast_signed());
            let lower = _mm512_cmpeq_epi32_mask(magnitudes_512(values, 0), largest);
            let upper = _mm512_cmpeq_epi32_mask(magnitudes_512(values, 1), largest);
            u32::from(upper) << 16 | u32::from(lower)
        };
        values.get(found.trailing_zeros() as usize).copied().unwrap_or(0.0)
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn nibbles(values: &[f32; 32], factor: f32, zero: f32, out: &mut [u8; 16]) {
        // SAFETY: two registers fill the values, one of a quarter of the size the bytes; the features as above.
        unsafe {
            let upper = _mm512_slli_epi32::<4>(nibbles_512(values, 1, factor, zero));
            let both = _mm512_or_si512(nibbles_512(values, 0, factor, zero), upper);
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(both));
        }
    }
    #[cfg(feature = "blocks")]
    #[inline(always)]
    fn bytes(values: &[f32; 32], factor: f32, out: &mut [u8; 32]) {
        // SAFETY: two registers fill the values, each gives half of the bytes; the features as above.
        unsafe {
            let (factor, half) = (_mm512_set1_ps(factor), _mm512_castps_si512(_mm512_set1_ps(HALF)));
            let sign = _mm512_set1_epi32(i32::MIN);
            for i in 0..2 {
                let value = _mm512_mul_ps(_mm512_loadu_ps(values.as_ptr().add(16 * i)), factor);
                // The sign of the value, everything else of the half.
                let half = _mm512_ternarylogic_epi32::<0xd8>(half, _mm512_castps_si512(value), sign);
                let whole = _mm512_cvttps_epi32(_mm512_add_ps(value, _mm512_castsi512_ps(half)));
                _mm_storeu_si128(out.as_mut_ptr().add(16 * i).cast(), _mm512_cvtepi32_epi8(whole));
            }
        }
    }
}
