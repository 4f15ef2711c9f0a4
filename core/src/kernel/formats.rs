//! Elements of stored rows as vectors, by format.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::vector::Vector;

/// How the elements of a stored row become vectors.
pub trait Source<V: Vector>: Copy {
    /// Cache lines of as many elements as one line has of 16 bits.
    const LINES: usize = 1;
    /// What the loads need in registers.
    ///
    /// # Safety
    /// The processor has the vector's features. So for all below.
    unsafe fn new() -> Self;
    /// Two vectors of elements from `j`, a multiple of both's lanes, on.
    ///
    /// # Safety
    /// The row at `row` has that many elements from there on.
    unsafe fn load_pair(self, row: *const u8, j: usize) -> [V; 2];
}

/// A format that stores every element for itself.
pub trait Float<V: Vector>: Source<V> {
    /// Elements from any `j` on.
    ///
    /// # Safety
    /// As for [`Source::load_pair`].
    unsafe fn load(self, row: *const u8, j: usize) -> V;
}

/// A [`Float`] that is written, to the bits of [`storage::encode`](crate::format::storage::encode).
pub trait Sink<V: Vector>: Float<V> {
    /// Writes elements from `j` on.
    ///
    /// # Safety
    /// As for [`Source::load_pair`].
    unsafe fn store(self, values: V, row: *mut u8, j: usize);
    /// Writes two vectors of elements from `j` on.
    ///
    /// # Safety
    /// As for [`Source::load_pair`].
    #[inline(always)]
    unsafe fn store_pair(self, values: [V; 2], row: *mut u8, j: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.store(values[0], row, j);
            self.store(values[1], row, j + V::LANES);
        }
    }
}

/// Elements of 4 bytes, f32.
#[derive(Clone, Copy)]
pub struct Single;
/// Elements of 2 bytes, f16.
#[derive(Clone, Copy)]
pub struct Half;
/// Elements of 2 bytes, bf16: the upper half of an f32.
#[derive(Clone, Copy)]
pub struct Bf16;

/// Loads of a format by those of the vector.
macro_rules! loads {
    ($format:ty, $lines:literal lines, $bytes:literal bytes, |$at:ident| $load:expr) => {
        impl<V: Vector> Source<V> for $format {
            const LINES: usize = $lines;
            #[inline(always)]
            unsafe fn new() -> Self {
                Self
            }
            #[inline(always)]
            unsafe fn load_pair(self, row: *const u8, j: usize) -> [V; 2] {
                // SAFETY: the caller's promise.
                unsafe { [self.load(row, j), self.load(row, j + V::LANES)] }
            }
        }
        impl<V: Vector> Float<V> for $format {
            #[inline(always)]
            unsafe fn load(self, row: *const u8, j: usize) -> V {
                // SAFETY: the caller's promise.
                unsafe {
                    let $at = row.add($bytes * j);
                    $load
                }
            }
        }
    };
}
loads!(Single, 2 lines, 4 bytes, |at| V::load(at.cast()));
loads!(Half, 1 lines, 2 bytes, |at| V::load_half(at));
loads!(Bf16, 1 lines, 2 bytes, |at| V::load_bf16(at));

impl<V: Vector> Sink<V> for Single {
    #[inline(always)]
    unsafe fn store(self, values: V, row: *mut u8, j: usize) {
        // SAFETY: the caller's promise.
        unsafe { values.store(row.add(4 * j).cast()) }
    }
}

impl<V: Vector> Sink<V> for Half {
    #[inline(always)]
    unsafe fn store(self, values: V, row: *mut u8, j: usize) {
        // SAFETY: the caller's promise.
        unsafe { values.store_half(row.add(2 * j)) }
    }
}

impl<V: Vector> Sink<V> for Bf16 {
    #[inline(always)]
    unsafe fn store(self, values: V, row: *mut u8, j: usize) {
        // SAFETY: the caller's promise.
        unsafe { values.store_bf16(row.add(2 * j)) }
    }
    #[inline(always)]
    unsafe fn store_pair(self, values: [V; 2], row: *mut u8, j: usize) {
        // SAFETY: the caller's promise.
        unsafe { V::store_bf16_pair(values, row.add(2 * j)) }
    }
}

/// Weights of a block of Q8_0 or Q4_0, and bytes of each: a scale, then the weights.
pub const BLOCK_LEN: usize = 32;
pub const Q8_0_BYTES: usize = 2 + BLOCK_LEN;
#[cfg(feature = "blocks")]
const Q4_0_BYTES: usize = 2 + BLOCK_LEN / 2;

/// ggml's blocks of 32 bytes and a scale. Rows hold whole blocks, so they have no tail.
#[derive(Clone, Copy)]
pub struct Q8_0;
/// A scale, then in each byte a weight of the first half below one of the second.
#[cfg(feature = "blocks")]
#[derive(Clone, Copy)]
pub struct Q4_0;

/// The scale that the block at `block` begins with.
///
/// # Safety
/// A block is there; the processor has the vector's features.
#[inline(always)]
unsafe fn scale<V: Vector>(block: *const u8) -> f32 {
    // SAFETY: the caller's promise; no alignment is needed.
    unsafe { V::widen_halves(u64::from(block.cast::<u16>().read_unaligned()))[0] }
}

impl<V: Vector> Source<V> for Q8_0 {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    unsafe fn load_pair(self, row: *const u8, j: usize) -> [V; 2] {
        // SAFETY: the caller's promise; two vectors lie within a block.
        unsafe {
            let block = row.add(j / BLOCK_LEN * Q8_0_BYTES);
            let (scale, [low, high]) = (scale::<V>(block), V::load_byte_pair(block.add(2 + j % BLOCK_LEN)));
            [low.scale(scale), high.scale(scale)]
        }
    }
}

#[cfg(feature = "blocks")]
impl<V: Vector> Source<V> for Q4_0 {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }
    #[inline(always)]
    unsafe fn load_pair(self, row: *const u8, j: usize) -> [V; 2] {
        const HALF: usize = BLOCK_LEN / 2;
        // SAFETY: the caller's promise; a vector lies within half of a block.
        unsafe {
            let block = row.add(j / BLOCK_LEN * Q4_0_BYTES);
            let (scale, first, second) = (scale::<V>(block), j % BLOCK_LEN, j % BLOCK_LEN + V::LANES);
            let low = V::load_nibbles(block.add(2 + first % HALF), first >= HALF);
            let high = V::load_nibbles(block.add(2 + second % HALF), second >= HALF);
            [low.scale(scale), high.scale(scale)]
        }
    }
}
