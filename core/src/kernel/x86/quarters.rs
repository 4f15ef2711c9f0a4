//! Rows of 4, 8, 12 or 16 elements of 16 bits times a vector: lora_b of small ranks.
//!
//! Row by row, adding lanes together takes as long as widening and multiplying. Here four rows share a register, a quarter
//! each, from the moment they are widened, so that a sum has four lanes instead of sixteen.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m512, __m512i, _mm_loadu_ps, _mm256_loadu_si256, _mm512_broadcast_f32x4, _mm512_castsi256_si512,
    _mm512_castsi512_si256, _mm512_cvtph_ps, _mm512_extracti64x4_epi64, _mm512_fmadd_ps, _mm512_loadu_si512,
    _mm512_mul_ps, _mm512_permutex2var_epi64, _mm512_permutexvar_ps, _mm512_setr_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{loads::Bytewise, vectors::of_quarters};
use crate::kernel::{
    short::{AHEAD, LINE},
    simd::{Source, Vector},
};

/// Rows of a block, whose sums are a register.
const ROWS: usize = 16;
/// Elements of a quarter of a register.
const QUARTER: usize = 4;
/// Bytes of one in memory.
const BYTES: usize = 2 * QUARTER;

/// How elements of 16 bits become f32.
pub(super) trait Widen: Copy {
    /// # Safety
    /// The processor has the format's features.
    unsafe fn new() -> Self;
    /// Sixteen elements of the lower or upper half.
    ///
    /// # Safety
    /// The processor has the format's features.
    unsafe fn widen(self, halves: __m512i, upper: bool) -> __m512;
}

/// f16.
#[derive(Clone, Copy)]
pub(super) struct Halves;

impl Widen for Halves {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    unsafe fn widen(self, halves: __m512i, upper: bool) -> __m512 {
        // SAFETY: registers alone.
        unsafe {
            if upper {
                _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves))
            } else {
                _mm512_cvtph_ps(_mm512_castsi512_si256(halves))
            }
        }
    }
}

impl Widen for Bytewise {
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        unsafe { <Self as Source<__m512>>::new() }
    }
    #[inline(always)]
    unsafe fn widen(self, halves: __m512i, upper: bool) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { self.half(halves, usize::from(upper)) }
    }
}

/// Four rows of `Q` quarters times x.
#[derive(Clone, Copy)]
struct Four<F, const Q: usize> {
    format: F,
    /// Where quarters 0 and 1 of four rows are in two registers, and where 2 and 3 are.
    order: [__m512i; 2],
    /// Quarters of x, four times each.
    x: [__m512; Q],
}

impl<F: Widen, const Q: usize> Four<F, Q> {
    /// Four rows in two registers, by quarters: the second register ends with them.
    const SECOND: usize = if Q > 2 { 4 * Q - 8 } else { 0 };
    const ORDER: [[u64; 8]; 2] = {
        let mut order = [[0; 8]; 2];
        let mut at = 0;
        while at < 4 * Q {
            let (row, quarter) = (at / Q, at % Q);
            let place = if at < 8 { at } else { at - Self::SECOND + 8 };
            order[quarter / 2][quarter % 2 * 4 + row] = place as u64;
            at += 1;
        }
        order
    };

    /// # Safety
    /// `x` is valid for `Q` quarters of reads; the processor has the format's features.
    #[inline(always)]
    unsafe fn new(x: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let mut wide = [_mm512_setzero_ps(); Q];
            for (i, wide) in wide.iter_mut().enumerate() {
                *wide = _mm512_broadcast_f32x4(_mm_loadu_ps(x.add(i * QUARTER)));
            }
            let [first, second] = &Self::ORDER;
            Self {
                format: F::new(),
                order: [
                    _mm512_loadu_si512(first.as_ptr().cast()),
                    _mm512_loadu_si512(second.as_ptr().cast()),
                ],
                x: wide,
            }
        }
    }

    /// Row i's products in quarter i, added up to four.
    ///
    /// # Safety
    /// Four rows are there; the processor has the format's features.
    #[inline(always)]
    unsafe fn products(self, rows: *const u8) -> __m512 {
        // SAFETY: both loads are of whole rows.
        unsafe {
            if Q == 1 {
                let halves = _mm512_castsi256_si512(_mm256_loadu_si256(rows.cast()));
                return _mm512_mul_ps(self.format.widen(halves, false), self.x[0]);
            }
            let low = _mm512_loadu_si512(rows.cast());
            let high = _mm512_loadu_si512(rows.add(Self::SECOND * BYTES).cast());
            let mut sum = _mm512_setzero_ps();
            let mut pair = low;
            for quarter in 0..Q {
                if quarter % 2 == 0 {
                    pair = _mm512_permutex2var_epi64(low, self.order[quarter / 2], high);
                }
                let wide = self.format.widen(pair, quarter % 2 == 1);
                sum = if quarter == 0 {
                    _mm512_mul_ps(wide, self.x[0])
                } else {
                    _mm512_fmadd_ps(wide, self.x[quarter], sum)
                };
            }
            sum
        }
    }

    /// Sixteen rows.
    ///
    /// # Safety
    /// They are at `rows`, and `out` is valid for as many writes; the processor has the format's features.
    #[inline(always)]
    unsafe fn block(self, rows: *const u8, out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            for line in (0..ROWS * Q * BYTES).step_by(LINE) {
                __m512::prefetch_near(rows.wrapping_add(AHEAD + line));
            }
            let mut sums = [_mm512_setzero_ps(); 4];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = self.products(rows.add(i * 4 * Q * BYTES));
            }
            // Element j of quarter i is row i of four rows j.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_storeu_ps(out, _mm512_permutexvar_ps(order, of_quarters(sums)));
        }
    }

    /// out[i] = (row i)·x. A row's bits do not depend on its place.
    ///
    /// # Safety
    /// As for [`dots`].
    #[inline(always)]
    unsafe fn dots(self, bytes: &[u8], out: &mut [f32]) {
        let (blocks, rest) = out.as_chunks_mut::<ROWS>();
        let mut from = bytes.as_ptr();
        // SAFETY: whole blocks are read in place, what is left from a copy.
        unsafe {
            for out in blocks {
                self.block(from, out.as_mut_ptr());
                from = from.add(ROWS * Q * BYTES);
            }
            if !rest.is_empty() {
                let (mut rows, mut sums) = ([0_u8; ROWS * 4 * BYTES], [0.0_f32; ROWS]);
                core::ptr::copy_nonoverlapping(from, rows.as_mut_ptr(), rest.len() * Q * BYTES);
                self.block(rows.as_ptr(), sums.as_mut_ptr());
                rest.copy_from_slice(&sums[..rest.len()]);
            }
        }
    }
}

/// out[i] = (row i)·x; false, and nothing done, where x is not of 1 to 4 quarters.
///
/// # Safety
/// `bytes` holds `out.len()` rows, one after another; the processor has the format's features.
#[inline(always)]
pub(super) unsafe fn dots<F: Widen>(bytes: &[u8], x: &[f32], out: &mut [f32]) -> bool {
    // SAFETY: the caller's promise; the length was looked at.
    unsafe {
        match x.len() {
            4 => Four::<F, 1>::new(x.as_ptr()).dots(bytes, out),
            8 => Four::<F, 2>::new(x.as_ptr()).dots(bytes, out),
            12 => Four::<F, 3>::new(x.as_ptr()).dots(bytes, out),
            16 => Four::<F, 4>::new(x.as_ptr()).dots(bytes, out),
            _ => return false,
        }
    }
    true
}
