//! Products of stored rows with a vector.

use core::arch::x86_64::{__m256, __m512};

use super::{detect::permutes_bytes, loads::Bytewise, quarters};
use crate::{
    Dtype,
    kernel::{
        short,
        simd::{self, Blocks8, Brain, Half, Single},
    },
};

/// Rows times a vector; false for formats that have no loads here.
macro_rules! dots_for {
    ($name:ident, $vector:ty, $features:literal) => {
        /// `out[i][t]` = (row i)·x\[t\]; false, and nothing done, for a format without loads of its own.
        ///
        /// # Safety
        /// `bytes` holds `out.len()` rows of as many elements as each x has, `row_bytes` apart; the processor has the
        /// features below.
        #[target_feature(enable = $features)]
        pub(in crate::kernel) unsafe fn $name<const T: usize>(
            dtype: Dtype,
            bytes: &[u8],
            row_bytes: usize,
            x: [&[f32]; T],
            out: &mut [[f32; T]],
        ) -> bool {
            // SAFETY: the caller's promise.
            unsafe {
                match dtype {
                    Dtype::F32 => short::dots::<$vector, Single, T>(bytes, row_bytes, x, out),
                    Dtype::F16 => short::dots::<$vector, Half, T>(bytes, row_bytes, x, out),
                    Dtype::Bf16 => short::dots::<$vector, Brain, T>(bytes, row_bytes, x, out),
                    dtype if dtype.is_q8_0() => simd::dots::<$vector, Blocks8, T>(bytes, row_bytes, x, out),
                    _ => return false,
                }
            }
            true
        }
    };
}
dots_for!(dots_avx2, __m256, "avx2,fma,f16c");
dots_for!(dots_plain, __m512, "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq");

/// out[i] = (row i)·x for f16 rows of a few quarters of a register; false, and nothing done, for others.
///
/// # Safety
/// As for [`dots_avx512`].
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn dots_quarters(bytes: &[u8], x: &[f32], out: &mut [f32]) -> bool {
    // SAFETY: the caller's promise.
    unsafe { quarters::dots::<quarters::Halves>(bytes, x, out) }
}

/// `out[i][t]` = (row i)·x\[t\] for bf16.
///
/// # Safety
/// As for [`dots_avx512`]; the processor has AVX-512 VBMI as well.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vbmi")]
unsafe fn dots_vbmi<const T: usize>(bytes: &[u8], row_bytes: usize, x: [&[f32]; T], out: &mut [[f32; T]]) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(T == 1 && quarters::dots::<Bytewise>(bytes, x[0], out.as_flattened_mut())) {
            short::dots::<__m512, Bytewise, T>(bytes, row_bytes, x, out);
        }
    }
}

/// `out[i][t]` = (row i)·x\[t\]; false, and nothing done, for a format without loads of its own.
///
/// # Safety
/// `bytes` holds `out.len()` rows of as many elements as each x has, `row_bytes` apart; the processor has the features of
/// AVX-512 that [`dots_plain`] names.
pub(in crate::kernel) unsafe fn dots_avx512<const T: usize>(
    dtype: Dtype,
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) -> bool {
    // SAFETY: the caller's promise, and the answer of the processor.
    unsafe {
        match dtype {
            Dtype::F16 if T == 1 && dots_quarters(bytes, x[0], out.as_flattened_mut()) => {}
            Dtype::Bf16 if permutes_bytes() => dots_vbmi(bytes, row_bytes, x, out),
            _ => return dots_plain(dtype, bytes, row_bytes, x, out),
        }
    }
    true
}
