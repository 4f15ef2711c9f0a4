//! Stored rows in vectors.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m256, __m512, __m512i, __mmask64, _MM_FROUND_CUR_DIRECTION, _mm_cvtph_ps, _mm_cvtsi32_si128,
    _mm_cvtsi64_si128, _mm_cvtss_f32, _mm_loadl_epi64, _mm_loadu_si128, _mm_storeu_ps, _mm256_castsi256_ps,
    _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_loadu_si256,
    _mm256_mul_ps, _mm256_set1_ps, _mm256_slli_epi32, _mm512_castsi256_si512, _mm512_castsi512_ps,
    _mm512_cvt_roundph_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32,
    _mm512_loadu_si512, _mm512_maskz_permutexvar_epi8, _mm512_mul_ps, _mm512_set1_ps, _mm512_slli_epi32,
};

#[cfg(feature = "blocks")]
use core::arch::x86_64::{__m128i, _mm_and_si128, _mm_set1_epi8, _mm_srli_epi16, _mm_sub_epi8};

#[cfg(feature = "blocks")]
use crate::kernel::simd::Blocks4;
use crate::kernel::{
    bytes::Bytes,
    simd::{Blocks8, Brain, Half, Single, Source, Vector},
};

/// Weights of a block of Q8_0, and its bytes: a scale, then the weights.
const Q_LEN: usize = 32;
const Q8_0_BYTES: usize = Q_LEN + 2;

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

/// Bytes of a block of Q4_0.
#[cfg(feature = "blocks")]
const NIBBLE_BYTES: usize = 2 + Q_LEN / 2;

/// The lower or upper halves of bytes, less 8.
///
/// # Safety
/// The processor has SSE2.
#[cfg(feature = "blocks")]
#[inline(always)]
unsafe fn nibbles(bytes: __m128i, upper: bool) -> __m128i {
    // SAFETY: registers alone.
    unsafe {
        let bytes = if upper { _mm_srli_epi16::<4>(bytes) } else { bytes };
        _mm_sub_epi8(_mm_and_si128(bytes, _mm_set1_epi8(15)), _mm_set1_epi8(8))
    }
}

/// The loads of one vector type, by format; `bytes` loads as many bytes as it has lanes, `scaled` widens and scales them. What
/// looks like closures is put in its place: a closure would be compiled without the features of the caller.
macro_rules! sources {
    (
        $vector:ty, |$at:ident| half: $half:expr, brain: $brain:expr, bytes: $bytes:expr;
        |$weights:ident| $widened:expr, |$wide:ident, $scale:ident| $scaled:expr
    ) => {
        impl Source<$vector> for Single {
            const LINES: usize = 2;
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
                unsafe {
                    let $at = row.add(2 * j);
                    $half
                }
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
                unsafe {
                    let $at = row.add(2 * j);
                    $brain
                }
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
                    let block = row.add(j / Q_LEN * Q8_0_BYTES);
                    let $at = block.add(2 + j % Q_LEN);
                    let ($weights, $scale) = ($bytes, block_scale(block));
                    let $wide = $widened;
                    $scaled
                }
            }
        }
        impl Bytes for $vector {
            #[inline(always)]
            unsafe fn widen_pair(from: *const u8) -> [Self; 2] {
                // SAFETY: the caller's promise.
                unsafe {
                    let $at = from;
                    let $weights = $bytes;
                    let low = $widened;
                    let $at = from.add(Self::LANES);
                    let $weights = $bytes;
                    [low, $widened]
                }
            }
            #[inline(always)]
            unsafe fn widen_halves(packed: u64) -> [f32; 4] {
                let mut out = [0.0; 4];
                // SAFETY: the caller's promise; four elements are written.
                unsafe {
                    let wide = _mm_cvtph_ps(_mm_cvtsi64_si128(packed.cast_signed()));
                    _mm_storeu_ps(out.as_mut_ptr(), wide);
                }
                out
            }
        }
        #[cfg(feature = "blocks")]
        impl Source<$vector> for Blocks4 {
            #[inline(always)]
            unsafe fn new() -> Self {
                Self
            }
            #[inline(always)]
            unsafe fn load(self, row: *const u8, j: usize) -> $vector {
                // SAFETY: as above; the bytes of a half are in the block, and lanes divide it.
                unsafe {
                    let block = row.add(j / Q_LEN * NIBBLE_BYTES);
                    let $at = block.add(2 + j % (Q_LEN / 2));
                    let ($weights, $scale) = (nibbles($bytes, j % Q_LEN >= Q_LEN / 2), block_scale(block));
                    let $wide = $widened;
                    $scaled
                }
            }
        }
    };
}
sources!(
    __m256,
    |at| half: _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
    brain: _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast())))),
    bytes: _mm_loadl_epi64(at.cast());
    |weights| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(weights)), |wide, scale| _mm256_mul_ps(wide, _mm256_set1_ps(scale))
);
sources!(
    __m512,
    // Not the plain conversion: Rust's suppresses exceptions, and that form takes no operand from memory.
    |at| half: _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(_mm256_loadu_si256(at.cast())),
    brain: _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast())))),
    bytes: _mm_loadu_si128(at.cast());
    |weights| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(weights)), |wide, scale| _mm512_mul_ps(wide, _mm512_set1_ps(scale))
);

/// bf16 where the processor has AVX-512 VBMI: one instruction moves sixteen of them into the upper halves of lanes,
/// where widening and shifting take one port of the multiply-adds twice as long.
#[derive(Clone, Copy)]
pub(super) struct Bytewise {
    /// For each byte of a vector, the one that goes there: from the lower and from the upper half of a register.
    order: [__m512i; 2],
    /// The bytes of the upper halves of lanes.
    upper: __mmask64,
}

impl Bytewise {
    /// Sixteen of the bf16 in a register.
    ///
    /// # Safety
    /// The processor has the features.
    #[inline(always)]
    pub(super) unsafe fn half(self, halves: __m512i, half: usize) -> __m512 {
        // SAFETY: registers alone.
        unsafe { _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi8(self.upper, self.order[half], halves)) }
    }
}

impl Source<__m512> for Bytewise {
    #[inline(always)]
    unsafe fn new() -> Self {
        let lower: [u8; 64] = core::array::from_fn(|i| (i / 4 * 2 + i % 2) as u8);
        let upper = lower.map(|byte| byte + 32);
        // SAFETY: the arrays have the size of the register. Hidden from the compiler, which knows slower ways for a
        // constant order.
        unsafe {
            let lower = _mm512_loadu_si512(core::hint::black_box(&lower).as_ptr().cast());
            let upper = _mm512_loadu_si512(core::hint::black_box(&upper).as_ptr().cast());
            Self { order: [lower, upper], upper: core::hint::black_box(0xcccc_cccc_cccc_cccc) }
        }
    }
    #[inline(always)]
    unsafe fn load(self, row: *const u8, j: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { self.half(_mm512_castsi256_si512(_mm256_loadu_si256(row.add(2 * j).cast())), 0) }
    }
    #[inline(always)]
    unsafe fn load_pair(self, row: *const u8, j: usize) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm512_loadu_si512(row.add(2 * j).cast());
            [self.half(halves, 0), self.half(halves, 1)]
        }
    }
}
