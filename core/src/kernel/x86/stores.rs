//! Vectors stored into rows, and additions to rows.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _CMP_UNORD_Q, _MM_FROUND_TO_NEAREST_INT, _mm_storeu_si128,
    _mm256_add_epi32, _mm256_and_si256, _mm256_blendv_epi8, _mm256_castps_si256, _mm256_castsi256_si128,
    _mm256_cmp_ps, _mm256_cvtps_ph, _mm256_or_si256, _mm256_packus_epi32, _mm256_permute4x64_epi64,
    _mm256_set1_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm512_add_epi32, _mm512_and_si512,
    _mm512_castps_si512, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi16, _mm512_cvtps_ph, _mm512_mask_or_epi32,
    _mm512_set1_epi32, _mm512_srli_epi32,
};

#[cfg(feature = "blocks")]
use super::{ByAvx2, ByAvx512};
#[cfg(feature = "blocks")]
use crate::kernel::{
    simd::{Blocks4, Blocks8},
    storage,
};
use crate::{
    Dtype,
    kernel::{
        deposit::{self, Sink},
        simd::{Brain, Half, Single, Vector},
    },
};

/// The stores of one vector type, by format.
macro_rules! sinks {
    ($vector:ty, $half:expr, $brain:expr) => {
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
                unsafe { $half(values, row.add(2 * j)) }
            }
        }
        impl Sink<$vector> for Brain {
            #[inline(always)]
            unsafe fn store(self, values: $vector, row: *mut u8, j: usize) {
                // SAFETY: as above.
                unsafe { $brain(values, row.add(2 * j)) }
            }
        }
    };
}
sinks!(
    __m256,
    |values, to: *mut u8| _mm_storeu_si128(
        to.cast(),
        _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(values)
    ),
    |values, to: *mut u8| {
        let packed = _mm256_packus_epi32(brain_256(values), brain_256(values));
        _mm_storeu_si128(
            to.cast(),
            _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed)),
        );
    }
);
sinks!(
    __m512,
    |values, to: *mut u8| _mm256_storeu_si256(
        to.cast(),
        _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(values)
    ),
    |values, to: *mut u8| _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(brain_512(values)))
);

/// bf16 in the lower halves of lanes: to nearest, ties to even; a NaN stays one.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn brain_256(values: __m256) -> __m256i {
    // SAFETY: registers alone.
    unsafe {
        let bits = _mm256_castps_si256(values);
        let upper = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
        let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
        _mm256_blendv_epi8(_mm256_srli_epi32::<16>(rounded), quiet, nan)
    }
}

/// The same for sixteen.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn brain_512(values: __m512) -> __m512i {
    // SAFETY: registers alone.
    unsafe {
        let bits = _mm512_castps_si512(values);
        let upper = _mm512_srli_epi32::<16>(bits);
        let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
        _mm512_mask_or_epi32(_mm512_srli_epi32::<16>(rounded), nan, upper, _mm512_set1_epi32(0x40))
    }
}

/// Additions to rows; 0 for formats that have no stores here.
macro_rules! add_for {
    ($name:ident, $vector:ty, $convert:ty, $features:literal) => {
        /// Adds `delta` to stored weights as far as whole vectors go; gives how many these are.
        ///
        /// # Safety
        /// `weights` holds as many weights as `delta`; the processor has the features below.
        #[target_feature(enable = $features)]
        pub(in crate::kernel) unsafe fn $name(delta: &[f32], dtype: Dtype, weights: &mut [u8]) -> usize {
            // SAFETY: the caller's promise.
            unsafe {
                match dtype {
                    Dtype::F32 => deposit::add::<$vector, Single>(delta, weights),
                    Dtype::F16 => deposit::add::<$vector, Half>(delta, weights),
                    Dtype::Bf16 => deposit::add::<$vector, Brain>(delta, weights),
                    #[cfg(feature = "blocks")]
                    Dtype::Q8_0 => {
                        deposit::in_pieces::<$vector, Blocks8>(delta, dtype, weights, |sums, bytes| {
                            storage::encode::<$convert>(sums, dtype, bytes);
                        })
                    }
                    #[cfg(feature = "blocks")]
                    Dtype::Q4_0 => {
                        deposit::in_pieces::<$vector, Blocks4>(delta, dtype, weights, |sums, bytes| {
                            storage::encode::<$convert>(sums, dtype, bytes);
                        })
                    }
                    _ => 0,
                }
            }
        }
    };
}
add_for!(add_avx2, __m256, ByAvx2, "avx2,fma,f16c");
add_for!(add_avx512, __m512, ByAvx512, "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq");
