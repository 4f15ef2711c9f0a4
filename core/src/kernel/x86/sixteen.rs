//! Rows of sixteen elements of 16 bits times a vector: lora_b of rank 16, the commonest.
//!
//! Row by row, adding lanes together takes as long as widening and multiplying. Here four rows share a register, a quarter
//! each, from the moment they are widened, so that a sum has four lanes instead of sixteen.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::{
    arch::x86_64::{
        __m512, __m512i, _mm512_add_ps, _mm512_castsi512_si256, _mm512_cvtph_ps, _mm512_extracti64x4_epi64,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_permutex2var_epi64,
        _mm512_permutexvar_ps, _mm512_setr_epi32, _mm512_setr_epi64, _mm512_setzero_ps, _mm512_shuffle_f32x4,
        _mm512_shuffle_ps, _mm512_storeu_ps,
    },
    array,
};

use super::loads::Bytewise;
use crate::kernel::{
    short::{AHEAD, LINE},
    simd::Vector,
};

/// Elements of a row, and rows that are taken at once.
pub(super) const LEN: usize = 16;
const ROW_BYTES: usize = 2 * LEN;
const BLOCK_BYTES: usize = LEN * ROW_BYTES;

/// Four rows of a format times x.
pub(super) trait Four: Copy {
    /// # Safety
    /// `x` is valid for `LEN` reads; the processor has the format's features.
    unsafe fn new(x: *const f32) -> Self;
    /// Row i's products in quarter i, added up to four.
    ///
    /// # Safety
    /// Four rows are there; the processor has the format's features.
    unsafe fn products(self, rows: *const u8) -> __m512;
}

/// f16: quarters of rows are brought together, four of the same quarter of x, and widened then.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    /// Quarters 0 and 1, then 2 and 3, of four rows in two registers.
    order: [__m512i; 2],
    /// A quarter of x each, four times.
    x: [__m512; 4],
}

impl Four for Halves {
    #[inline(always)]
    unsafe fn new(x: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let x = _mm512_loadu_ps(x);
            Self {
                order: [
                    _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13),
                    _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15),
                ],
                x: [
                    _mm512_shuffle_f32x4::<0x00>(x, x),
                    _mm512_shuffle_f32x4::<0x55>(x, x),
                    _mm512_shuffle_f32x4::<0xaa>(x, x),
                    _mm512_shuffle_f32x4::<0xff>(x, x),
                ],
            }
        }
    }
    #[inline(always)]
    unsafe fn products(self, rows: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let (low, high) =
                (_mm512_loadu_si512(rows.cast()), _mm512_loadu_si512(rows.add(2 * ROW_BYTES).cast()));
            let first = _mm512_permutex2var_epi64(low, self.order[0], high);
            let last = _mm512_permutex2var_epi64(low, self.order[1], high);
            let quarters = [
                _mm512_castsi512_si256(first),
                _mm512_extracti64x4_epi64::<1>(first),
                _mm512_castsi512_si256(last),
                _mm512_extracti64x4_epi64::<1>(last),
            ];
            let sum = _mm512_mul_ps(_mm512_cvtph_ps(quarters[0]), self.x[0]);
            let sum = _mm512_fmadd_ps(_mm512_cvtph_ps(quarters[1]), self.x[1], sum);
            let sum = _mm512_fmadd_ps(_mm512_cvtph_ps(quarters[2]), self.x[2], sum);
            _mm512_fmadd_ps(_mm512_cvtph_ps(quarters[3]), self.x[3], sum)
        }
    }
}

/// bf16 where bytes go anywhere: halves of two rows are brought together as they are widened.
#[derive(Clone, Copy)]
pub(super) struct Brains {
    bytes: Bytewise,
    /// A half of x each, twice.
    x: [__m512; 2],
}

impl Four for Brains {
    #[inline(always)]
    unsafe fn new(x: *const f32) -> Self {
        // Byte i % 2 of an element, of the first row's first half, then of the second's.
        let lower: [u8; 64] = array::from_fn(|i| (i / 32 * ROW_BYTES + i % 32 / 4 * 2 + i % 2) as u8);
        // SAFETY: the caller's promise.
        unsafe {
            let x = _mm512_loadu_ps(x);
            Self {
                bytes: Bytewise::in_order([lower, lower.map(|byte| byte + (ROW_BYTES / 2) as u8)]),
                x: [_mm512_shuffle_f32x4::<0x44>(x, x), _mm512_shuffle_f32x4::<0xee>(x, x)],
            }
        }
    }
    #[inline(always)]
    unsafe fn products(self, rows: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let [low, high] = [self.two(rows), self.two(rows.add(2 * ROW_BYTES))];
            _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(low, high), _mm512_shuffle_f32x4::<0xdd>(low, high))
        }
    }
}

impl Brains {
    /// Two rows, half a register each.
    ///
    /// # Safety
    /// Two rows are there; the processor has the features.
    #[inline(always)]
    unsafe fn two(self, rows: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let rows = _mm512_loadu_si512(rows.cast());
            let sum = _mm512_mul_ps(self.bytes.widen(rows, 0), self.x[0]);
            _mm512_fmadd_ps(self.bytes.widen(rows, 1), self.x[1], sum)
        }
    }
}

/// out[i] = (row i)·x. A row's bits do not depend on its place.
///
/// # Safety
/// `bytes` holds `out.len()` rows, `x` is `LEN` long; the processor has the format's features.
#[inline(always)]
pub(super) unsafe fn dots<F: Four>(bytes: &[u8], x: &[f32], out: &mut [f32]) {
    // SAFETY: whole blocks are read in place, what is left from a copy.
    unsafe {
        let four = F::new(x.as_ptr());
        let (blocks, rest) = out.as_chunks_mut::<LEN>();
        let mut from = bytes.as_ptr();
        for out in blocks {
            block(four, from, out.as_mut_ptr());
            from = from.add(BLOCK_BYTES);
        }
        if !rest.is_empty() {
            let (mut rows, mut sums) = ([0_u8; BLOCK_BYTES], [0.0_f32; LEN]);
            core::ptr::copy_nonoverlapping(from, rows.as_mut_ptr(), rest.len() * ROW_BYTES);
            block(four, rows.as_ptr(), sums.as_mut_ptr());
            rest.copy_from_slice(&sums[..rest.len()]);
        }
    }
}

/// Sixteen rows.
///
/// # Safety
/// They are at `rows`, and `out` is valid for as many writes; the processor has the format's features.
#[inline(always)]
unsafe fn block<F: Four>(four: F, rows: *const u8, out: *mut f32) {
    // SAFETY: the caller's promise; a prefetch reads nothing.
    unsafe {
        for line in (0..BLOCK_BYTES).step_by(LINE) {
            __m512::prefetch_near(rows.wrapping_add(AHEAD + line));
        }
        let mut sums = [_mm512_setzero_ps(); 4];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = four.products(rows.add(i * 4 * ROW_BYTES));
        }
        let low = _mm512_add_ps(
            _mm512_shuffle_ps::<0x44>(sums[0], sums[1]),
            _mm512_shuffle_ps::<0xee>(sums[0], sums[1]),
        );
        let high = _mm512_add_ps(
            _mm512_shuffle_ps::<0x44>(sums[2], sums[3]),
            _mm512_shuffle_ps::<0xee>(sums[2], sums[3]),
        );
        let all = _mm512_add_ps(_mm512_shuffle_ps::<0x88>(low, high), _mm512_shuffle_ps::<0xdd>(low, high));
        // Element j of quarter i is row i of four rows j.
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_storeu_ps(out, _mm512_permutexvar_ps(order, all));
    }
}
