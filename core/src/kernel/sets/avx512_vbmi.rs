//! AVX-512 with VBMI.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    __m512, __m512i, __mmask64, _mm256_loadu_si256, _mm512_castsi256_si512, _mm512_castsi512_ps,
    _mm512_loadu_si512, _mm512_maskz_permutexvar_epi8,
};

use super::{avx512::Avx512, convert::ByAvx512};
use crate::kernel::{
    formats::{Float, Source},
    isa::{Isa, Op},
    portable::Lanes,
};

/// [`Avx512`] and AVX-512 VBMI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512Vbmi;

impl Isa for Avx512Vbmi {
    type Vector = __m512;
    type Bf16 = Bytewise;
    type Convert = ByAvx512;
    type StripTile = <Avx512 as Isa>::StripTile;
    type MergeTile = <Avx512 as Isa>::MergeTile;
    type ProductTile8 = <Avx512 as Isa>::ProductTile8;
    type ProductTile16 = <Avx512 as Isa>::ProductTile16;
    #[inline(always)]
    unsafe fn measure(values: &[f32], gap: usize, count: usize, lanes: &mut Lanes) -> usize {
        // SAFETY: the caller's promise.
        unsafe { Avx512::measure(values, gap, count, lanes) }
    }
    #[inline(always)]
    unsafe fn transpose(from: (*const f32, usize), to: (*mut f32, usize)) {
        // SAFETY: the caller's promise.
        unsafe { Avx512::transpose(from, to) }
    }
}

impl Avx512Vbmi {
    /// Whether the processor and its operating system have it.
    pub fn is_there() -> bool {
        Avx512::is_there() && has_vbmi::get()
    }

    /// Runs an operation, compiled for the instruction set.
    ///
    /// # Safety
    /// [`Avx512Vbmi::is_there`] holds.
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    pub unsafe fn call<O: Op>(op: O) -> O::Output {
        // SAFETY: the caller's promise.
        unsafe { op.run::<Self>() }
    }
}

cpufeatures::new!(has_vbmi, "avx512vbmi");

/// bf16 where the processor has AVX-512 VBMI: one instruction moves sixteen of them into the upper halves of lanes,
/// where widening and shifting take one port of the multiply-adds twice as long.
#[derive(Clone, Copy)]
pub struct Bytewise {
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
    unsafe fn half(self, halves: __m512i, half: usize) -> __m512 {
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
    unsafe fn load_pair(self, row: *const u8, j: usize) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm512_loadu_si512(row.add(2 * j).cast());
            [self.half(halves, 0), self.half(halves, 1)]
        }
    }
}

impl Float<__m512> for Bytewise {
    #[inline(always)]
    unsafe fn load(self, row: *const u8, j: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { self.half(_mm512_castsi256_si512(_mm256_loadu_si256(row.add(2 * j).cast())), 0) }
    }
}
