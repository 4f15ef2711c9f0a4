//! Stored rows times vectors: sums of vectors whose lanes are added up at the end.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    formats::Float,
    vector::{MOST, Vector, ZERO, lanes},
};

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

/// `out[i][t]` = (row i)·x\[t\].
///
/// # Safety
/// `bytes` holds `out.len()` rows of as many elements as each x has, `row_bytes` apart, at least a vector of them; the
/// processor has the vector's features.
#[inline(always)]
pub unsafe fn dots<V: Vector, D: Dot<V>, const T: usize>(
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
unsafe fn grouped<V: Vector, D: Dot<V>, const T: usize, const R: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) {
    // SAFETY: row i starts at i * row_bytes; `sums` has a vector per lane.
    unsafe {
        let (dot, zero) = (D::new(x.first().map_or(0, |x| x.len())), V::splat(&raw const ZERO));
        for (register, out) in out.chunks_mut(V::LANES).enumerate() {
            let mut sums = [[zero; MOST]; T];
            for first in (0..out.len()).step_by(R) {
                let start = bytes.as_ptr().add((register * V::LANES + first) * row_bytes);
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

impl<V: Vector, S: Float<V>> Dot<V> for Floats<V, S> {
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
pub unsafe fn add_up<V: Vector, const T: usize>(sums: &[[V; MOST]; T], out: &mut [[f32; T]]) {
    for (t, sums) in sums.iter().enumerate() {
        let mut lanes = [0.0_f32; MOST];
        // SAFETY: `MOST` vectors are read at most, and written to as many lanes.
        unsafe { V::sums(sums.as_ptr()).store(lanes.as_mut_ptr()) };
        out.iter_mut().zip(lanes).for_each(|(out, sum)| out[t] = sum);
    }
}
