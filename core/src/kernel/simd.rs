//! The thin product over explicit vectors: C += A·X with a register tile of C.
//!
//! A tile of `MR` rows × `NV` vectors of C stays in registers while the depth runs by: per step `NV` loads
//! of X, `MR` broadcasts of A, `MR`·`NV` fused multiply-adds. A is read through two strides, so the same
//! tile serves A and its transpose.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{Ahead, Strided};

/// One vector register of f32.
pub trait Vector: Copy {
    /// Elements of the register.
    const LANES: usize;
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
    /// self + a·b, rounded once.
    ///
    /// # Safety
    /// The processor has the type's features.
    unsafe fn fused(self, a: Self, b: Self) -> Self;
    /// Asks for the cache line at `line` in the second-level cache. Any address will do.
    fn prefetch(line: *const u8);
}

/// A walk over bytes that will be read soon, a little with each step of the depth: asked for in a burst, they
/// would hold up the loads. Without a branch, since that costs registers; so a line may be asked for twice.
struct Walk {
    next: *const u8,
    stride: usize,
}

/// `MR` rows of C, `NV` vectors wide.
///
/// # Safety
/// `a` holds `MR` rows of `depth` elements through the strides, `x` holds `depth`·`NV` vectors and `c`
/// holds `MR`·`NV`; the processor has the vector's features.
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(
    a: *const f32,
    (row, col): (usize, usize),
    depth: usize,
    x: *const f32,
    c: *mut f32,
    ahead: &mut Walk,
) {
    // SAFETY: every offset below is within what the caller promises.
    unsafe {
        let zero = V::load(c);
        let mut sum = [[zero; NV]; MR];
        for i in 0..MR {
            for v in 0..NV {
                sum[i][v] = V::load(c.add((i * NV + v) * V::LANES));
            }
        }
        for k in 0..depth {
            V::prefetch(ahead.next);
            ahead.next = ahead.next.wrapping_add(ahead.stride);
            let mut wide = [zero; NV];
            for v in 0..NV {
                wide[v] = V::load(x.add((k * NV + v) * V::LANES));
            }
            for i in 0..MR {
                let a = V::splat(a.add(i * row + k * col));
                for v in 0..NV {
                    sum[i][v] = sum[i][v].fused(a, wide[v]);
                }
            }
        }
        for i in 0..MR {
            for v in 0..NV {
                sum[i][v].store(c.add((i * NV + v) * V::LANES));
            }
        }
    }
}

/// C += A·X over `rows` rows, in tiles of `MR` and the rest in smaller ones.
///
/// # Safety
/// `a` holds a `rows` × `depth` matrix, `x` holds `depth` × `NV` vectors, `c` `rows` × `NV`; the processor
/// has the vector's features.
#[inline(always)]
pub unsafe fn product<V: Vector, const MR: usize, const NV: usize>(
    a: Strided<'_>,
    rows: usize,
    depth: usize,
    x: &[f32],
    c: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    let bytes = ahead.step();
    let steps = (depth * rows.div_ceil(MR)).max(1);
    let ahead = &mut Walk { next: bytes.as_ptr(), stride: bytes.len().div_ceil(steps) };
    let strides = (a.row, a.col);
    let mut i = 0;
    // SAFETY: row i of A starts at i * row, row i of C at i * NV * LANES, and each tile ends by `rows`.
    unsafe {
        let at = |i: usize| a.data.as_ptr().add(i * a.row);
        while i + MR <= rows {
            tile::<V, MR, NV>(
                at(i),
                strides,
                depth,
                x.as_ptr(),
                c.as_mut_ptr().add(i * NV * V::LANES),
                ahead,
            );
            i += MR;
        }
        while i + 4 <= rows {
            tile::<V, 4, NV>(at(i), strides, depth, x.as_ptr(), c.as_mut_ptr().add(i * NV * V::LANES), ahead);
            i += 4;
        }
        while i < rows {
            tile::<V, 1, NV>(at(i), strides, depth, x.as_ptr(), c.as_mut_ptr().add(i * NV * V::LANES), ahead);
            i += 1;
        }
    }
}
