//! x86-64: AVX2 with FMA, and AVX-512.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __cpuid, __m256, __m512, __m512i, _MM_FROUND_CUR_DIRECTION, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T1,
    _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_loadl_epi64, _mm_loadu_si128, _mm_prefetch,
    _mm_storeu_si128, _mm256_add_ps, _mm256_broadcast_ss, _mm256_castsi256_ps, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_fmadd_ps,
    _mm256_hadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_mul_ps, _mm256_permute2f128_ps,
    _mm256_set1_ps, _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_storeu_ps, _mm256_sub_ps,
    _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps, _mm512_castsi512_ps, _mm512_cvt_roundph_ps,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_permutexvar_epi8, _mm512_set1_ps, _mm512_shuffle_f32x4,
    _mm512_shuffle_ps, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_sub_ps, _mm512_zextsi256_si512,
};
use core::sync::atomic::{AtomicU8, Ordering};

use super::{
    Ahead, Isa, Lines, Strided, Tile, TileMut, short,
    simd::{self, Blocks8, Brain, Half, Reduce, Single, Source, Vector},
    storage::Widen,
    tile,
};
use crate::Dtype;

cpufeatures::new!(has_avx2, "avx2", "fma");
cpufeatures::new!(has_vbmi, "avx512vbmi");
cpufeatures::new!(has_avx512, "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl");

/// Whether the processor converts f16; `cpufeatures` has no name for it. Asked once: under a hypervisor the
/// question is slow.
fn has_f16c() -> bool {
    const UNKNOWN: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == UNKNOWN {
        known = (__cpuid(1).ecx >> 29 & 1) as u8;
        KNOWN.store(known, Ordering::Relaxed);
    }
    known == 1
}

/// The best instruction set of this processor and operating system.
pub(super) fn detect() -> Isa {
    if !has_f16c() {
        Isa::Portable
    } else if has_avx512::get() {
        Isa::Avx512
    } else if has_avx2::get() {
        Isa::Avx2
    } else {
        Isa::Portable
    }
}

/// Conversion of f16 by instruction. Only for code that is compiled for F16C.
pub(super) struct F16c;

impl Widen for F16c {
    #[inline(always)]
    fn widen(bytes: &[u8; 16]) -> [f32; 8] {
        let mut out = [0.0; 8];
        // SAFETY: both arrays have the size of their register; the callers, `avx2` and `avx512` below, run
        // only where the processor has F16C.
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
    fn prefetch(line: *const u8) {
        // SAFETY: a prefetch reads nothing that the program could see, at any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
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
    fn prefetch(line: *const u8) {
        __m256::prefetch(line);
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
        /// Eight rows of two lanes.
        #[inline(always)]
        unsafe fn eighth(rows: *const __m512, i: usize) -> __m512 {
            // SAFETY: the caller's promise.
            unsafe {
                let (low, high) = (quarter(rows, i), quarter(rows, i + 1));
                _mm512_add_ps(_mm512_shuffle_ps::<0x44>(low, high), _mm512_shuffle_ps::<0xee>(low, high))
            }
        }
        // SAFETY: the caller's promise.
        unsafe {
            let (low, high) = (eighth(rows, 0), eighth(rows, 2));
            _mm512_add_ps(_mm512_shuffle_ps::<0x88>(low, high), _mm512_shuffle_ps::<0xdd>(low, high))
        }
    }
}

/// A square of 8 × 8, turned over its diagonal: pairs of rows interleaved, then quarters, then halves.
///
/// # Safety
/// Rows of eight elements, `skip` and `to_row` apart, are there; the processor has AVX.
#[inline(always)]
unsafe fn turn(from: *const f32, skip: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [_mm256_loadu_ps(from); 8];
        for (i, row) in row.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i * skip));
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

/// out[j, i] = matrix[i, j], `rows` × `cols`.
///
/// # Safety
/// Both sides hold `rows` × `cols` elements; the processor has the features.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn transpose(matrix: &[f32], rows: usize, cols: usize, out: &mut [f32]) {
    const SIDE: usize = 8;
    let (whole_rows, whole_cols) = (rows / SIDE * SIDE, cols / SIDE * SIDE);
    for i in (0..whole_rows).step_by(SIDE) {
        for j in (0..whole_cols).step_by(SIDE) {
            // SAFETY: the square lies within both sides.
            unsafe {
                turn(matrix.as_ptr().add(i * cols + j), cols, out.as_mut_ptr().add(j * rows + i), rows);
            }
        }
    }
    super::portable::transpose(matrix, (0..whole_rows, whole_cols..cols), (rows, cols), out);
    super::portable::transpose(matrix, (whole_rows..rows, 0..cols), (rows, cols), out);
}

/// Weights of a block of Q8_0, and its bytes: a scale, then the weights.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = BLOCK + 2;

/// The scale of the block at `block`.
///
/// # Safety
/// A block is there; the processor has F16C.
#[inline(always)]
unsafe fn block_scale(block: *const u8) -> f32 {
    // SAFETY: the caller's promise; no alignment is needed.
    unsafe {
        let bits = block.cast::<u16>().read_unaligned();
        _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
    }
}

/// The loads of one vector type, by format.
macro_rules! sources {
    ($vector:ty, $half:expr, $brain:expr, $bytes:expr) => {
        impl Source<$vector> for Single {
            #[inline(always)]
            unsafe fn new() -> Self {
                Self
            }
            #[inline(always)]
            #[expect(clippy::cast_ptr_alignment, reason = "unaligned loads")]
            unsafe fn load(self, row: *const u8, j: usize) -> $vector {
                // SAFETY: the caller's promise; no alignment is needed.
                unsafe { <$vector>::load(row.cast::<f32>().add(j)) }
            }
        }
        impl Source<$vector> for Half {
            #[inline(always)]
            unsafe fn new() -> Self {
                Self
            }
            #[inline(always)]
            unsafe fn load(self, row: *const u8, j: usize) -> $vector {
                // SAFETY: as above.
                unsafe { $half(row.add(2 * j)) }
            }
        }
        impl Source<$vector> for Brain {
            #[inline(always)]
            unsafe fn new() -> Self {
                Self
            }
            #[inline(always)]
            unsafe fn load(self, row: *const u8, j: usize) -> $vector {
                // SAFETY: as above.
                unsafe { $brain(row.add(2 * j)) }
            }
        }
        impl Source<$vector> for Blocks8 {
            #[inline(always)]
            unsafe fn new() -> Self {
                Self
            }
            #[inline(always)]
            unsafe fn load(self, row: *const u8, j: usize) -> $vector {
                // SAFETY: as above; lanes divide the block.
                unsafe {
                    let block = row.add(j / BLOCK * BLOCK_BYTES);
                    $bytes(block.add(2 + j % BLOCK), block_scale(block))
                }
            }
        }
    };
}
sources!(
    __m256,
    |at: *const u8| _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
    |at: *const u8| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(
        at.cast()
    )))),
    |at: *const u8, scale: f32| _mm256_mul_ps(
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast()))),
        _mm256_set1_ps(scale)
    )
);
sources!(
    __m512,
    // Not the plain conversion: Rust's suppresses exceptions, and that form takes no operand from memory.
    |at: *const u8| _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(_mm256_loadu_si256(at.cast())),
    |at: *const u8| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(
        at.cast()
    )))),
    |at: *const u8, scale: f32| _mm512_mul_ps(
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))),
        _mm512_set1_ps(scale)
    )
);

/// bf16 where the processor has AVX-512 VBMI: one instruction moves sixteen of them into the upper halves of lanes,
/// where widening and shifting take one port of the multiply-adds twice as long.
#[derive(Clone, Copy)]
struct Bytewise(__m512i);

impl Source<__m512> for Bytewise {
    #[inline(always)]
    unsafe fn new() -> Self {
        // The lower half of a lane from the zeros behind the sixteen.
        let order: [u8; 64] =
            core::array::from_fn(|i| if i % 4 < 2 { 32 } else { (i / 4 * 2 + i % 2) as u8 });
        // SAFETY: the array has the size of the register. Hidden from the compiler, which knows slower ways for a
        // constant order.
        Self(unsafe { _mm512_loadu_si512(core::hint::black_box(&order).as_ptr().cast()) })
    }
    #[inline(always)]
    unsafe fn load(self, row: *const u8, j: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm512_zextsi256_si512(_mm256_loadu_si256(row.add(2 * j).cast()));
            _mm512_castsi512_ps(_mm512_permutexvar_epi8(self.0, halves))
        }
    }
}

/// Rows times a vector; false for formats that have no loads here.
macro_rules! dots_for {
    ($name:ident, $vector:ty, $features:literal) => {
        /// out[i] = (row i)·x; false, and nothing done, for a format without loads of its own.
        ///
        /// # Safety
        /// `bytes` holds `out.len()` rows of `x.len()` elements, `row_bytes` apart; the processor has the features
        /// below.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(
            dtype: Dtype,
            bytes: &[u8],
            row_bytes: usize,
            x: &[f32],
            out: &mut [f32],
        ) -> bool {
            // SAFETY: the caller's promise.
            unsafe {
                match dtype {
                    Dtype::F32 => short::dots::<$vector, Single>(bytes, row_bytes, x, out),
                    Dtype::F16 => short::dots::<$vector, Half>(bytes, row_bytes, x, out),
                    Dtype::Bf16 => short::dots::<$vector, Brain>(bytes, row_bytes, x, out),
                    dtype if dtype.is_q8_0() => short::dots::<$vector, Blocks8>(bytes, row_bytes, x, out),
                    _ => return false,
                }
            }
            true
        }
    };
}
dots_for!(dots_avx2, __m256, "avx2,fma,f16c");
dots_for!(dots_avx512, __m512, "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq");

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
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => simd::product::<__m256, 8, 1>(a, rows, depth, x, c, ahead),
            16 => simd::product::<__m256, 6, 2>(a, rows, depth, x, c, ahead),
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
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => simd::product::<__m256, 16, 1>(a, rows, depth, x, c, ahead),
            16 => simd::product::<__m512, 16, 1>(a, rows, depth, x, c, ahead),
            _ => super::portable::product::<W>(a, rows, depth, x, c),
        }
    }
}

/// S += D·X with AVX2.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::forward`); the processor has the features below.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn forward_avx2<const W: usize>(
    tile: Tile<'_>,
    xt: &[f32],
    sums: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::forward::<__m256, 4, 2, W>(tile, xt, sums, ahead) }
}

/// D = tuned − base and S += D·X; false, and nothing done, for formats without loads of their own.
macro_rules! fresh_for {
    ($name:ident, $vector:ty, $brain:ty, $rows:literal, $columns:literal, $features:literal) => {
        /// D = tuned − base and S += D·X; false, and nothing done, for a format without loads of its own.
        ///
        /// # Safety
        /// The operands hold the shapes (checked by `Kernel::difference_forward`); the processor has the features
        /// below.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name<const W: usize>(
            dtype: Dtype,
            sides: [Lines<'_>; 2],
            tile: &mut TileMut<'_>,
            xt: &[f32],
            sums: &mut [f32],
            ahead: &mut Ahead<'_>,
        ) -> bool {
            // SAFETY: the caller's promise.
            unsafe {
                match dtype {
                    Dtype::F32 => {
                        tile::fresh::<$vector, Single, $rows, $columns, W>(sides, tile, xt, sums, ahead)
                    }
                    Dtype::F16 => {
                        tile::fresh::<$vector, Half, $rows, $columns, W>(sides, tile, xt, sums, ahead)
                    }
                    Dtype::Bf16 => {
                        tile::fresh::<$vector, $brain, $rows, $columns, W>(sides, tile, xt, sums, ahead)
                    }
                    _ => return false,
                }
            }
            true
        }
    };
}
fresh_for!(fresh_avx2, __m256, Brain, 4, 2, "avx2,fma,f16c");
fresh_for!(fresh_plain, __m512, Brain, 4, 4, "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq");
fresh_for!(fresh_vbmi, __m512, Bytewise, 4, 4, "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,avx512vbmi");

/// D = tuned − base and S += D·X; false, and nothing done, for a format without loads of its own.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::difference_forward`); the processor has the features of
/// AVX-512 that [`fresh_plain`] names.
pub(super) unsafe fn fresh_avx512<const W: usize>(
    dtype: Dtype,
    sides: [Lines<'_>; 2],
    tile: &mut TileMut<'_>,
    xt: &[f32],
    sums: &mut [f32],
    ahead: &mut Ahead<'_>,
) -> bool {
    // SAFETY: the caller's promise, and the answer of the processor.
    unsafe {
        if dtype == Dtype::Bf16 && has_vbmi::get() {
            fresh_vbmi::<W>(dtype, sides, tile, xt, sums, ahead)
        } else {
            fresh_plain::<W>(dtype, sides, tile, xt, sums, ahead)
        }
    }
}

/// Zᵀ += Yᵀ·D with AVX2.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::backward`); the processor has the features below.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn backward_avx2<const W: usize>(
    tile: Tile<'_>,
    y: &[f32],
    zt: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::backward::<__m256, 4, 2, W>(tile, y, zt, ahead) }
}

/// S += D·X with AVX-512.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::forward`); the processor has the features below.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn forward_avx512<const W: usize>(
    tile: Tile<'_>,
    xt: &[f32],
    sums: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::forward::<__m512, 4, 4, W>(tile, xt, sums, ahead) }
}

/// Zᵀ += Yᵀ·D with AVX-512.
///
/// # Safety
/// The operands hold the shapes (checked by `Kernel::backward`); the processor has the features below.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
pub(super) unsafe fn backward_avx512<const W: usize>(
    tile: Tile<'_>,
    y: &[f32],
    zt: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe { tile::backward::<__m512, 4, 4, W>(tile, y, zt, ahead) }
}

/// The portable routines once more, compiled for a set of features.
macro_rules! compiled_for {
    ($module:ident, $features:literal) => {
        pub(super) mod $module {
            use crate::{
                Delta, Dtype, Rows,
                kernel::{portable, storage, x86::F16c},
            };

            #[target_feature(enable = $features)]
            pub fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) {
                storage::difference::<F16c>(base, tuned, out);
            }
            #[target_feature(enable = $features)]
            pub fn decode(rows: Rows<'_>, out: &mut [f32]) {
                storage::decode::<F16c>(rows, out);
            }
            #[target_feature(enable = $features)]
            pub fn encode(values: &[f32], dtype: Dtype, out: &mut [u8]) -> bool {
                storage::encode::<F16c>(values, dtype, out)
            }
            #[target_feature(enable = $features)]
            pub fn fold(sums: &mut [f32], y: &mut [f32]) {
                portable::fold(sums, y);
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
            pub fn subtract_scaled(x: &mut [f32], f: f32, y: &[f32]) {
                portable::subtract_scaled(x, f, y);
            }
            #[target_feature(enable = $features)]
            pub fn rotate(x: &mut [f32], y: &mut [f32], c: f32, s: f32) {
                portable::rotate(x, y, c, s);
            }
        }
    };
}
compiled_for!(avx2, "avx2,fma,f16c");
compiled_for!(avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl");
