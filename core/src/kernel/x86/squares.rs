//! Measurements of rows: sums of squares in f64, and largest magnitudes.

use core::arch::x86_64::{
    _MM_HINT_T0, _mm_loadu_ps, _mm_prefetch, _mm256_and_ps, _mm256_castsi256_ps, _mm256_cvtps_pd,
    _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_max_ps, _mm256_set1_epi32, _mm256_storeu_pd,
    _mm256_storeu_ps, _mm512_abs_ps, _mm512_cvtps_pd, _mm512_fmadd_pd, _mm512_loadu_pd, _mm512_loadu_ps,
    _mm512_max_ps, _mm512_storeu_pd, _mm512_storeu_ps,
};

use crate::kernel::portable::{Lanes, SQUARES};

/// Pieces that are asked for before they are measured: where they are far apart, no processor foresees them.
const SOON: usize = 8;

/// Measures pieces of a row, two at a time. A square is exact in f64, so that fusing its addition changes no bit.
macro_rules! measure_for {
    (
        $name:ident, $features:literal, $wide:literal,
        f64: $load_wide:ident, $store_wide:ident, $fused:ident, |$from:ident| $widen:expr;
        f32: $load:ident, $store:ident, |$values:ident, $most:ident| $larger:expr
    ) => {
        /// [`portable::measure`](crate::kernel::portable::measure) of `count` pieces of half as many values as there are lanes,
        /// `gap` elements from one to the next, as far as pairs of them go; gives how many pieces these are.
        ///
        /// # Safety
        /// `values` holds the pieces; the processor has the features below.
        #[target_feature(enable = $features)]
        pub(in crate::kernel) unsafe fn $name(
            values: &[f32],
            gap: usize,
            count: usize,
            lanes: &mut Lanes,
        ) -> usize {
            /// Lanes of an f64 vector, and of one of f32.
            const WIDE: usize = $wide;
            const LANES: usize = 2 * WIDE;
            const HALF: usize = SQUARES / 2;
            let whole = count / 2 * 2;
            let (squares, largest) = (lanes.squares.as_mut_ptr(), lanes.largest.as_mut_ptr());
            // SAFETY: piece `i` starts at `i * gap`; two have SQUARES values, as `lanes` has squares and magnitudes.
            unsafe {
                let mut sums = [$load_wide(squares); SQUARES / WIDE];
                let mut most = [$load(largest); SQUARES / LANES];
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = $load_wide(squares.add(v * WIDE));
                }
                for (v, most) in most.iter_mut().enumerate() {
                    *most = $load(largest.add(v * LANES));
                }
                for i in (0..whole).step_by(2) {
                    let from = values.as_ptr().add(i * gap);
                    let at = |value: usize| from.add(value / HALF * gap + value % HALF);
                    for soon in [SOON, SOON + 1] {
                        _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(soon * gap).cast());
                    }
                    for (v, sum) in sums.iter_mut().enumerate() {
                        // Widened from memory: from a register it takes twice as many instructions of the processor's own.
                        let $from = at(v * WIDE);
                        let wide = $widen;
                        *sum = $fused(wide, wide, *sum);
                    }
                    for (v, most) in most.iter_mut().enumerate() {
                        let ($values, $most) = ($load(at(v * LANES)), *most);
                        *most = $larger;
                    }
                }
                for (v, &sum) in sums.iter().enumerate() {
                    $store_wide(squares.add(v * WIDE), sum);
                }
                for (v, &most) in most.iter().enumerate() {
                    $store(largest.add(v * LANES), most);
                }
            }
            whole
        }
    };
}
// The larger of two is the second one where the first is not a number.
measure_for!(
    measure_avx2, "avx2,fma", 4,
    f64: _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, |from| _mm256_cvtps_pd(_mm_loadu_ps(from));
    f32: _mm256_loadu_ps, _mm256_storeu_ps, |values, most| {
        _mm256_max_ps(_mm256_and_ps(values, _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX))), most)
    }
);
measure_for!(
    measure_avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl", 8,
    f64: _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd, |from| _mm512_cvtps_pd(_mm256_loadu_ps(from));
    f32: _mm512_loadu_ps, _mm512_storeu_ps, |values, most| _mm512_max_ps(_mm512_abs_ps(values), most)
);
