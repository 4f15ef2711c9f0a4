//! Vectors stored into rows, and rows that are merged into.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _CMP_UNORD_Q, _MM_FROUND_TO_NEAREST_INT, _mm_storeu_si128,
    _mm256_add_epi32, _mm256_and_si256, _mm256_blendv_epi8, _mm256_castps_si256, _mm256_castsi256_si128,
    _mm256_cmp_ps, _mm256_cvtps_ph, _mm256_or_si256, _mm256_packus_epi32, _mm256_permute4x64_epi64,
    _mm256_set1_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm512_add_epi32, _mm512_castps_si512,
    _mm512_cmp_ps_mask, _mm512_cvtepi32_epi16, _mm512_cvtps_ph, _mm512_loadu_si512, _mm512_mask_add_epi32,
    _mm512_mask_or_epi32, _mm512_permutex2var_epi16, _mm512_set1_epi32, _mm512_srli_epi32,
    _mm512_storeu_si512, _mm512_test_epi32_mask,
};

use crate::{
    Dtype,
    kernel::{
        Ahead, Tile,
        merge::{self, Sink, Stored},
        simd::{Brain, Half, Single, Vector},
    },
};

/// The stores of one vector type, by format: no closures, as for the loads.
macro_rules! sinks {
    ($vector:ty, |$values:ident, $to:ident| half: $half:expr, brain: $brain:expr, brains: $brains:expr) => {
        impl Sink<$vector> for Single {
            #[inline(always)]
            #[expect(clippy::cast_ptr_alignment, reason = "unaligned stores")]
            unsafe fn store(self, values: $vector, row: *mut u8, j: usize) {
                // SAFETY: the caller's promise; no alignment is needed.
                unsafe { values.store(row.cast::<f32>().add(j)) }
            }
        }
        impl Sink<$vector> for Half {
            #[inline(always)]
            unsafe fn store(self, values: $vector, row: *mut u8, j: usize) {
                // SAFETY: as above.
                unsafe {
                    let ($values, $to) = (values, row.add(2 * j));
                    $half
                }
            }
        }
        impl Sink<$vector> for Brain {
            #[inline(always)]
            unsafe fn store(self, values: $vector, row: *mut u8, j: usize) {
                // SAFETY: as above.
                unsafe {
                    let ($values, $to) = (values, row.add(2 * j));
                    $brain
                }
            }
            #[inline(always)]
            unsafe fn store_pair(self, values: [$vector; 2], row: *mut u8, j: usize) {
                // SAFETY: as above.
                unsafe {
                    let ($values, $to) = (values, row.add(2 * j));
                    $brains
                }
            }
        }
    };
}
sinks!(
    __m256,
    |values, to| half: _mm_storeu_si128(
        to.cast(),
        _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(values)
    ),
    brain: _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(brains_256([values, values]))),
    brains: _mm256_storeu_si256(to.cast(), brains_256(values))
);
sinks!(
    __m512,
    |values, to| half: _mm256_storeu_si256(
        to.cast(),
        _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(values)
    ),
    brain: _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(brain_512(values)))),
    brains: {
        // The upper halves of the lanes of both.
        let order = _mm512_loadu_si512((&raw const UPPER).cast());
        let [low, high] = [brain_512(values[0]), brain_512(values[1])];
        _mm512_storeu_si512(to.cast(), _mm512_permutex2var_epi16(low, order, high));
    }
);

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
/// The processor has AVX2.
#[inline(always)]
unsafe fn brain_256(values: __m256) -> __m256i {
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
unsafe fn brains_256([low, high]: [__m256; 2]) -> __m256i {
    // SAFETY: registers alone.
    unsafe {
        let [low, high] = [brain_256(low), brain_256(high)];
        let packed = _mm256_packus_epi32(_mm256_srli_epi32::<16>(low), _mm256_srli_epi32::<16>(high));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(packed)
    }
}

/// As [`brain_256`].
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn brain_512(values: __m512) -> __m512i {
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

/// Merging into rows, and adding to them.
macro_rules! merge_for {
    ($name:ident, $add_half:ident, $vector:ty, $rows:literal, $vectors:literal, $features:literal) => {
        /// W += Yᵀ·D for weights of a format with stores of its own; nothing for others.
        ///
        /// # Safety
        /// The operands hold the shapes (checked by `Kernel::merge_rows`); the processor has the features below.
        #[target_feature(enable = $features)]
        pub(in crate::kernel) unsafe fn $name<const W: usize>(
            tile: Tile<'_>,
            y: &[f32],
            (dtype, weights): (Dtype, Stored),
            ahead: &mut Ahead<'_>,
        ) {
            macro_rules! into {
                ($sink:ty) => {
                    merge::merge_rows::<$vector, $sink, $rows, $vectors, W>(tile, y, weights, ahead)
                };
            }
            // SAFETY: the caller's promise.
            unsafe {
                match dtype {
                    Dtype::F32 => into!(Single),
                    Dtype::F16 => into!(Half),
                    Dtype::Bf16 => into!(Brain),
                    _ => {}
                }
            }
        }

        /// Adds `values` to elements of f16 as far as whole vectors go; gives how many these are.
        ///
        /// # Safety
        /// `row` holds as many elements as `values`; the processor has the features below.
        #[target_feature(enable = $features)]
        pub(in crate::kernel) unsafe fn $add_half(values: &[f32], row: *mut u8) -> usize {
            // SAFETY: the caller's promise.
            unsafe { merge::add::<$vector, Half>(values, row) }
        }
    };
}
merge_for!(merge_rows_avx2, add_half_avx2, __m256, 4, 2, "avx2,fma,f16c");
merge_for!(
    merge_rows_avx512,
    add_half_avx512,
    __m512,
    4,
    4,
    "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq"
);
