//! One vector register, whatever its length: what loops with explicit vectors are written in.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::ops::Range;

use super::Prefetch;

/// One vector register of f32.
pub trait Vector: Copy {
    /// Elements of the register.
    const LANES: usize;
    /// Registers that the processor has.
    const REGISTERS: usize;
    /// Reads `LANES` elements.
    ///
    /// # Safety
    /// `from` is valid for that many reads; the processor has the type's features.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` elements.
    ///
    /// # Safety
    /// `to` is valid for that many writes; the processor has the type's features.
    unsafe fn store(self, to: *mut f32);
    /// Reads one element into all lanes.
    ///
    /// # Safety
    /// `from` is valid for one read; the processor has the type's features.
    unsafe fn splat(from: *const f32) -> Self;
    /// Reads two elements into the lanes, in turn.
    ///
    /// # Safety
    /// `from` is valid for two reads; the processor has the type's features.
    unsafe fn splat_pair(from: *const f32) -> Self;
    /// self + a·b, rounded once.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn fused(self, a: Self, b: Self) -> Self;
    /// self + a.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn add(self, a: Self) -> Self;
    /// self − a.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn subtract(self, a: Self) -> Self;
    /// self in the lanes where all bits of `mask` are set, zero in those where none is.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn keep(self, mask: Self) -> Self;
    /// self times `factor`.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn scale(self, factor: f32) -> Self;
    /// Element i is the sum of the lanes of `rows[i]`, of which there are as many as lanes; the order of the
    /// additions is the same for each.
    ///
    /// # Safety
    /// `rows` is valid for that many reads; the processor has the type's features.
    unsafe fn sums(rows: *const Self) -> Self;
    /// Reads `LANES` elements of IEEE binary16.
    ///
    /// # Safety
    /// As for [`Vector::load`], in bytes. So for the loads and stores below, of as many elements.
    unsafe fn load_half(from: *const u8) -> Self;
    /// The same of the upper halves of binary32.
    ///
    /// # Safety
    /// See [`Vector::load_half`].
    unsafe fn load_bf16(from: *const u8) -> Self;
    /// The same of signed bytes, two vectors.
    ///
    /// # Safety
    /// See [`Vector::load_half`].
    unsafe fn load_byte_pair(from: *const u8) -> [Self; 2];
    /// The lower or upper halves of `LANES` bytes, less 8.
    ///
    /// # Safety
    /// See [`Vector::load_half`].
    #[cfg(feature = "blocks")]
    unsafe fn load_nibbles(from: *const u8, upper: bool) -> Self;
    /// Writes IEEE binary16.
    ///
    /// # Safety
    /// See [`Vector::load_half`].
    unsafe fn store_half(self, to: *mut u8);
    /// Writes the upper halves of binary32: to nearest, ties to even; a NaN stays one.
    ///
    /// # Safety
    /// See [`Vector::load_half`].
    unsafe fn store_bf16(self, to: *mut u8);
    /// The same of two vectors.
    ///
    /// # Safety
    /// See [`Vector::load_half`].
    #[inline(always)]
    unsafe fn store_bf16_pair(values: [Self; 2], to: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            values[0].store_bf16(to);
            values[1].store_bf16(to.add(2 * Self::LANES));
        }
    }
    /// Four numbers of IEEE binary16, the lowest first.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn widen_halves(packed: u64) -> [f32; 4];
    /// Asks for the cache line at `line` in the second-level cache. Any address will do.
    fn prefetch(line: *const u8);
    /// The same in the first-level cache, for what is used once and soon.
    fn prefetch_near(line: *const u8);
    /// The same pointer, kept in one register where multiply-adds read memory through it: with an address of two registers the
    /// processor splits each multiply-add into two micro-operations.
    #[inline(always)]
    fn alone(pointer: *const f32) -> *const f32 {
        pointer
    }
}

/// Bytes of a cache line on most processors.
const LINE: usize = 64;

/// Steps of a product that are asked for before they are used.
pub const SOON: usize = 8;

/// A walk over bytes that will be read soon, a little with each step of the depth: asked for in a burst, they would hold up
/// the loads. A line may be asked for twice.
pub struct Walk {
    next: *const u8,
    stride: usize,
}

impl Walk {
    /// The bytes of the next step of `ahead` in `steps` steps.
    pub fn new(ahead: &mut Prefetch<'_>, steps: usize) -> Self {
        let bytes = ahead.step();
        Self { next: bytes.as_ptr(), stride: bytes.len().div_ceil(steps.max(1)) }
    }

    /// Asks for what is next.
    #[inline(always)]
    pub fn step<V: Vector>(&mut self) {
        V::prefetch(self.next);
        self.next = self.next.wrapping_add(self.stride);
    }
}

/// Asks for all of `bytes`.
pub fn ask<V: Vector>(bytes: &[u8]) {
    bytes.chunks(LINE).for_each(|line| V::prefetch(line.as_ptr()));
}

/// Most lanes of a vector.
pub const MOST: usize = 16;

/// A mask for [`Vector::keep`].
#[inline(always)]
pub fn lanes<V: Vector>(kept: Range<usize>) -> [f32; MOST] {
    let mut mask = [0.0; MOST];
    mask.iter_mut().take(kept.end).skip(kept.start).for_each(|lane| *lane = f32::from_bits(u32::MAX));
    mask
}

/// What sums start from.
pub static ZERO: f32 = 0.0;
