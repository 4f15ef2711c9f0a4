//! One vector register, whatever its length: what every kernel with explicit vectors is written in; and the loops that all of
//! them share.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::ops::Range;

use super::Ahead;

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
    /// Asks for the cache line at `line` in the second-level cache. Any address will do.
    fn prefetch(line: *const u8);
    /// The same in the first-level cache, for what is used once and soon.
    fn prefetch_near(line: *const u8);
    /// The same pointer; in a register of its own where multiply-adds read it: with a sum of two as its address, one is two
    /// instructions of the processor's own.
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
    /// The next piece of `ahead` in `steps` steps.
    pub fn new(ahead: &mut Ahead<'_>, steps: usize) -> Self {
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

/// How the elements of a stored row become a vector.
pub trait Source<V>: Copy {
    /// Cache lines of as many elements as one line has of 16 bits.
    const LINES: usize = 1;
    /// What the loads need in registers.
    ///
    /// # Safety
    /// The processor has the vector's features.
    unsafe fn new() -> Self;
    /// Elements from `j` on: any of floats, in blocks a multiple of the vector's lanes.
    ///
    /// # Safety
    /// The row at `row` has that many elements from there on; the processor has the vector's features.
    unsafe fn load(self, row: *const u8, j: usize) -> V;
    /// Two vectors of elements from `j`, a multiple of both's lanes, on.
    ///
    /// # Safety
    /// As for [`Source::load`].
    #[inline(always)]
    unsafe fn load_pair(self, row: *const u8, j: usize) -> [V; 2]
    where
        V: Vector,
    {
        // SAFETY: the caller's promise.
        unsafe { [self.load(row, j), self.load(row, j + V::LANES)] }
    }
}

/// Elements of 4 bytes.
#[derive(Clone, Copy)]
pub struct Single;
/// Elements of 2 bytes, IEEE binary16.
#[derive(Clone, Copy)]
pub struct Half;
/// Elements of 2 bytes, the upper half of a binary32.
#[derive(Clone, Copy)]
pub struct Brain;
/// ggml's blocks of 32 bytes and a scale. Rows hold whole blocks, so they have no tail.
#[derive(Clone, Copy)]
pub struct Blocks8;
/// Those of Q4_0: a scale, then in each byte a weight of the first half below one of the second.
#[cfg(all(feature = "blocks", target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub struct Blocks4;

/// A vector that a row of every format can be multiplied with.
pub trait Reduce: Vector {
    /// Element i is the sum of the lanes of `rows[i]`, of which there are as many as lanes; the order of the
    /// additions is the same for each.
    ///
    /// # Safety
    /// `rows` is valid for that many reads; the processor has the type's features.
    unsafe fn sums(rows: *const Self) -> Self;
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

/// How stored rows of a format are multiplied with vectors.
pub trait Dot<V>: Copy {
    /// What rows of `len` elements need in registers.
    ///
    /// # Safety
    /// The processor has the vector's features.
    unsafe fn new(len: usize) -> Self;
    /// The sums of `R` rows and `T` vectors, over the lanes. The bits of one depend on neither number.
    ///
    /// # Safety
    /// Rows of `row_bytes` and of as many elements as each x has are there, of as many as `new` was told; the processor has
    /// the vector's features.
    unsafe fn sums<const T: usize, const R: usize>(
        self,
        row: [*const u8; R],
        row_bytes: usize,
        x: [&[f32]; T],
    ) -> [[V; T]; R];
}

/// `out[i][t]` = (row i)·x\[t\], by sums of vectors whose lanes are added up at the end.
///
/// # Safety
/// `bytes` holds `out.len()` rows of as many elements as each x has, `row_bytes` apart, at least a vector of them; the
/// processor has the vector's features.
#[inline(always)]
pub unsafe fn dots<V: Reduce, D: Dot<V>, const T: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) {
    // Two registers for each row and vector, in half of them.
    // SAFETY: the caller's promise.
    unsafe {
        match V::REGISTERS / (4 * T) {
            0 | 1 => grouped::<V, D, T, 1>(bytes, row_bytes, x, out),
            2 | 3 => grouped::<V, D, T, 2>(bytes, row_bytes, x, out),
            _ => grouped::<V, D, T, 4>(bytes, row_bytes, x, out),
        }
    }
}

/// The same with `R` rows at a time.
///
/// # Safety
/// As for [`dots`]; `R` divides the lanes.
#[inline(always)]
unsafe fn grouped<V: Reduce, D: Dot<V>, const T: usize, const R: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) {
    // SAFETY: row i starts at i * row_bytes; `sums` has a vector per lane.
    unsafe {
        let (dot, zero) = (D::new(x.first().map_or(0, |x| x.len())), V::splat(&raw const ZERO));
        for (block, out) in out.chunks_mut(V::LANES).enumerate() {
            let mut sums = [[zero; MOST]; T];
            for first in (0..out.len()).step_by(R) {
                let start = bytes.as_ptr().add((block * V::LANES + first) * row_bytes);
                let row = rows::<R>(start, row_bytes, out.len() - first);
                let found = dot.sums::<T, R>(row, row_bytes, x);
                for i in 0..R {
                    for t in 0..T {
                        sums[t][first + i] = found[i][t];
                    }
                }
            }
            add_up(&sums, out);
        }
    }
}

/// Rows of floats: each in two running sums of vectors, then a tail.
#[derive(Clone, Copy)]
pub struct Floats<V, S> {
    source: S,
    zero: V,
    /// The lanes of what is left of a row, which is read with the elements before it.
    tail: V,
}

impl<V: Reduce, S: Source<V>> Dot<V> for Floats<V, S> {
    #[inline(always)]
    unsafe fn new(len: usize) -> Self {
        let tail = lanes::<V>(V::LANES - len % V::LANES..V::LANES);
        // SAFETY: the caller's promise; the mask is of as many lanes.
        unsafe { Self { source: S::new(), zero: V::splat(&raw const ZERO), tail: V::load(tail.as_ptr()) } }
    }

    #[inline(always)]
    unsafe fn sums<const T: usize, const R: usize>(
        self,
        row: [*const u8; R],
        row_bytes: usize,
        x: [&[f32]; T],
    ) -> [[V; T]; R] {
        let len = x.first().map_or(0, |x| x.len());
        let size = row_bytes.checked_div(len).unwrap_or(0);
        let (pairs, whole) = (len / (2 * V::LANES) * 2 * V::LANES, len / V::LANES * V::LANES);
        // Far enough that lines arrive before they are used, and, over long rows, onto the rows that come next.
        let ahead = (R * row_bytes).clamp(1024, 2048);
        let (mut even, mut odd) = ([[self.zero; T]; R], [[self.zero; T]; R]);
        let mut j = 0;
        // SAFETY: elements are loaded from within the rows and from within each x.
        unsafe {
            while j < pairs {
                // Behind its end a row is followed by the one that takes its place, not by its neighbour.
                let next = j * size + ahead;
                let next = if next < row_bytes { next } else { next + (R - 1) * row_bytes };
                for i in 0..R {
                    V::prefetch_near(row[i].wrapping_add(next));
                    let [first, second] = self.source.load_pair(row[i], j);
                    for t in 0..T {
                        even[i][t] = even[i][t].fused(first, V::load(x[t].as_ptr().add(j)));
                        odd[i][t] = odd[i][t].fused(second, V::load(x[t].as_ptr().add(j + V::LANES)));
                    }
                }
                j += 2 * V::LANES;
            }
            for i in 0..R {
                for t in 0..T {
                    if j < whole {
                        even[i][t] =
                            even[i][t].fused(self.source.load(row[i], j), V::load(x[t].as_ptr().add(j)));
                    }
                    if whole < len {
                        let last = self.source.load(row[i], len - V::LANES).keep(self.tail);
                        odd[i][t] = odd[i][t].fused(last, V::load(x[t].as_ptr().add(len - V::LANES)));
                    }
                    even[i][t] = even[i][t].add(odd[i][t]);
                }
            }
        }
        even
    }
}

/// `R` rows of which there are `count`, `row_bytes` apart: one that does not exist repeats the last one that does.
#[inline(always)]
fn rows<const R: usize>(start: *const u8, row_bytes: usize, count: usize) -> [*const u8; R] {
    core::array::from_fn(|i| start.wrapping_add(i.min(count - 1) * row_bytes))
}

/// `out[i][t]` = the lanes of `sums[t][i]`.
///
/// # Safety
/// `out` is at most as long as a vector; the processor has the vector's features.
#[inline(always)]
pub unsafe fn add_up<V: Reduce, const T: usize>(sums: &[[V; MOST]; T], out: &mut [[f32; T]]) {
    for (t, sums) in sums.iter().enumerate() {
        let mut lanes = [0.0_f32; MOST];
        // SAFETY: `MOST` vectors are read at most, and written to as many lanes.
        unsafe { V::sums(sums.as_ptr()).store(lanes.as_mut_ptr()) };
        out.iter_mut().zip(lanes).for_each(|(out, sum)| out[t] = sum);
    }
}

/// (x, y) ← (c·x − s·y, s·x + c·y) as far as whole vectors go; gives how many elements these are. In the form of
/// `portable::rotate`, with τ = s/(1 + c).
///
/// # Safety
/// `y` is as long as `x`; the processor has the vector's features.
#[inline(always)]
pub unsafe fn rotate<V: Vector>(x: &mut [f32], y: &mut [f32], c: f32, s: f32) -> usize {
    let whole = x.len() / V::LANES * V::LANES;
    let (x, y, tau) = (x.as_mut_ptr(), y.as_mut_ptr(), s / (1.0 + c));
    // SAFETY: i stays below `whole`, a multiple of the lanes.
    unsafe {
        let [tau, less_tau, sine, less_sine] = [tau, -tau, s, -s].map(|value| V::splat(&raw const value));
        for i in (0..whole).step_by(V::LANES) {
            let (a, b) = (V::load(x.add(i)), V::load(y.add(i)));
            a.fused(less_sine, b.fused(tau, a)).store(x.add(i));
            b.fused(sine, a.fused(less_tau, b)).store(y.add(i));
        }
    }
    whole
}

/// What sums start from.
pub static ZERO: f32 = 0.0;
