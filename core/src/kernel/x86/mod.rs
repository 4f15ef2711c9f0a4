//! x86-64: AVX2 with FMA, and AVX-512.

mod convert;
mod detect;
mod dots;
mod loads;
mod quarters;
mod squares;
mod stores;
mod transpose;
mod vectors;

use core::arch::x86_64::{__m256, __m512};

#[cfg(feature = "blocks")]
use super::simd::Blocks4;
use super::{
    Ahead, Blocks, Lines, Strided, fresh, reflect,
    simd::{self, Blocks8, Brain, Half, Single},
    thin, tile,
};
use crate::Dtype;
use convert::{ByAvx2, ByAvx512};
pub(super) use detect::detect;
use detect::permutes_bytes;
pub(super) use dots::{dots_avx2, dots_avx512};
use loads::Bytewise;
pub(super) use squares::{measure_avx2, measure_avx512};
pub(super) use stores::{add_half_avx2, add_half_avx512, merge_rows_avx2, merge_rows_avx512};
pub(super) use transpose::transpose;

/// Asks for all of `bytes`.
pub(super) fn ask(bytes: &[u8]) {
    simd::ask::<__m256>(bytes);
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
            8 => thin::product::<__m256, 8, 1>(a, rows, depth, x, c),
            16 => thin::product::<__m256, 6, 2>(a, rows, depth, x, c),
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
            8 => thin::product::<__m256, 8, 1>(a, rows, depth, x, c),
            16 => thin::product::<__m512, 16, 1>(a, rows, depth, x, c),
            _ => super::portable::product::<W>(a, rows, depth, x, c),
        }
    }
}

/// Both products of a strip.
macro_rules! products_for {
    (
        $forward:ident, $backward:ident, $fresh:ident, $vector:ty, $brain:ty,
        $rows:literal, $vectors:literal, $features:literal
    ) => {
        /// The lanes of Y += D·X.
        ///
        /// # Safety
        /// The operands hold the shapes (checked by `Kernel::forward`); the processor has the features below.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $forward<const W: usize>(
            d: Blocks<'_>,
            x: &[f32],
            y: &mut [f32],
            ahead: &mut Ahead<'_>,
        ) {
            // SAFETY: the caller's promise.
            unsafe { tile::forward::<$vector, $rows, $vectors, W>(d, x, y, ahead) }
        }

        /// Z += Dᵀ·Y, from the lanes of Y.
        ///
        /// # Safety
        /// The operands hold the shapes (checked by `Kernel::backward`); the processor has the features below.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $backward<const W: usize>(
            d: Blocks<'_>,
            y: &[f32],
            z: &mut [f32],
            ahead: &mut Ahead<'_>,
        ) {
            // SAFETY: the caller's promise.
            unsafe { tile::backward::<$vector, $rows, $vectors, W>(d, y, z, ahead) }
        }

        fresh_for!($fresh, $vector, $brain, $rows, $vectors, $features);
    };
}

/// D = tuned − base and Y += D·X; false, and nothing done, for formats without loads of their own.
macro_rules! fresh_for {
    ($name:ident, $vector:ty, $brain:ty, $rows:literal, $vectors:literal, $features:literal) => {
        /// D = tuned − base, both of one format or the base in D before, in whole chunks, and the lanes of Y += D·X; false, and
        /// nothing done, for a format without loads of its own.
        ///
        /// # Safety
        /// The operands hold the shapes (checked by `Kernel::difference_forward`); the processor has the features
        /// below.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name<const W: usize>(
            (base, tuned): (Option<Lines<'_>>, Lines<'_>),
            cols: usize,
            data: &mut [f32],
            x: &[f32],
            y: &mut [f32],
            ahead: &mut Ahead<'_>,
        ) -> bool {
            let sides = [base.unwrap_or(tuned), tuned];
            macro_rules! from {
                ($source:ty, $laid:literal) => {
                    fresh::fresh::<$vector, $source, $rows, $vectors, W, $laid>(
                        sides, cols, data, x, y, ahead,
                    )
                };
            }
            // SAFETY: the caller's promise.
            unsafe {
                match (tuned.dtype, base.is_none()) {
                    (Dtype::F32, false) => from!(Single, false),
                    (Dtype::F16, false) => from!(Half, false),
                    (Dtype::Bf16, false) => from!($brain, false),
                    (Dtype::F32, true) => from!(Single, true),
                    (Dtype::F16, true) => from!(Half, true),
                    (Dtype::Bf16, true) => from!($brain, true),
                    (dtype, false) if dtype.is_q8_0() => from!(Blocks8, false),
                    #[cfg(feature = "blocks")]
                    (Dtype::Q4_0, false) => from!(Blocks4, false),
                    _ => return false,
                }
            }
            true
        }
    };
}
products_for!(forward_avx2, backward_avx2, fresh_avx2, __m256, Brain, 4, 2, "avx2,fma,f16c");
products_for!(
    forward_avx512,
    backward_avx512,
    fresh_plain,
    __m512,
    Brain,
    16,
    1,
    "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq"
);
fresh_for!(
    fresh_vbmi,
    __m512,
    Bytewise,
    16,
    1,
    "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vbmi"
);

/// D = tuned − base, both of one format or the base in D before, in whole chunks, and the lanes of Y += D·X; false, and nothing
/// done, for a format without loads of its own.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::difference_forward`); the processor has the features of
/// AVX-512 that [`fresh_plain`] names.
pub(super) unsafe fn fresh_avx512<const W: usize>(
    sides: (Option<Lines<'_>>, Lines<'_>),
    cols: usize,
    data: &mut [f32],
    x: &[f32],
    y: &mut [f32],
    ahead: &mut Ahead<'_>,
) -> bool {
    // SAFETY: the caller's promise, and the answer of the processor.
    unsafe {
        if sides.1.dtype == Dtype::Bf16 && permutes_bytes() {
            fresh_vbmi::<W>(sides, cols, data, x, y, ahead)
        } else {
            fresh_plain::<W>(sides, cols, data, x, y, ahead)
        }
    }
}

/// A plane rotation with AVX2, as far as whole vectors go.
///
/// # Safety
/// As for [`simd::rotate`]; the processor has the features below.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn rotate_avx2(x: &mut [f32], y: &mut [f32], c: f32, s: f32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { simd::rotate::<__m256>(x, y, c, s) }
}

/// The same with AVX-512.
///
/// # Safety
/// As for [`simd::rotate`]; the processor has the features below.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn rotate_avx512(x: &mut [f32], y: &mut [f32], c: f32, s: f32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { simd::rotate::<__m512>(x, y, c, s) }
}

/// A step of a tridiagonalisation with AVX2.
///
/// # Safety
/// As for [`reflect::reflect`]; the processor has the features below.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn reflect_avx2(
    a: &mut [f32],
    ld: usize,
    size: usize,
    vectors: [&[f32]; 3],
    p: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { reflect::reflect::<__m256>(a, ld, size, vectors, p) }
}

/// The same with AVX-512.
///
/// # Safety
/// As for [`reflect::reflect`]; the processor has the features below.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn reflect_avx512(
    a: &mut [f32],
    ld: usize,
    size: usize,
    vectors: [&[f32]; 3],
    p: &mut [f32],
) {
    // SAFETY: the caller's promise.
    unsafe { reflect::reflect::<__m512>(a, ld, size, vectors, p) }
}

/// The portable routines once more, compiled for a set of features.
macro_rules! compiled_for {
    ($module:ident, $convert:ident, $features:literal) => {
        pub(super) mod $module {
            #[cfg(feature = "blocks")]
            use crate::format::blocks;
            use crate::{
                Delta, Dtype, Rows,
                format::storage,
                kernel::{portable, x86::$convert},
            };

            #[target_feature(enable = $features)]
            pub fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
                storage::difference::<$convert>(base, tuned, out);
            }
            #[target_feature(enable = $features)]
            pub fn decode(rows: Rows<'_>, out: &mut [f32]) {
                storage::decode::<$convert>(rows, out);
            }
            #[cfg(feature = "blocks")]
            #[target_feature(enable = $features)]
            pub fn decode_blocks(rows: Rows<'_>, out: &mut [f32]) {
                blocks::decode_blocks(rows, out);
            }
            #[target_feature(enable = $features)]
            pub fn encode(values: &[f32], dtype: Dtype, out: &mut [u8]) -> bool {
                storage::encode::<$convert>(values, dtype, out)
            }
            #[target_feature(enable = $features)]
            pub fn all_finite(rows: Rows<'_>) -> Option<bool> {
                storage::all_finite(rows)
            }
            #[target_feature(enable = $features)]
            pub fn sum_up(lanes: &mut portable::Lanes, delta: &mut Delta) -> bool {
                portable::sum_up(lanes, delta)
            }
            #[target_feature(enable = $features)]
            pub fn dot(x: &[f32], y: &[f32]) -> f32 {
                portable::dot(x, y)
            }
            #[target_feature(enable = $features)]
            pub fn subtract_scaled(x: &mut [f32], f: f32, y: &[f32]) {
                portable::subtract_scaled(x, f, y);
            }
        }
    };
}
compiled_for!(avx2, ByAvx2, "avx2,fma,f16c");
compiled_for!(avx512, ByAvx512, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl");
