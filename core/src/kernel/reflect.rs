//! The step of a tridiagonalisation: a symmetric matrix reflected, and multiplied by the next reflector on the way.
//!
//! Each row left of its diagonal is read once and stands for its column as well. The squares on the diagonal, of as many
//! rows as a register has lanes, are kept whole, so that no row has a rest.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::simd::{self, MOST, Reduce};

/// Rows that go together: they share what is loaded of the vectors.
const TOGETHER: usize = 4;

/// A −= v·wᵀ + w·vᵀ and p = A·u for the leading `size` rows and columns of A, whose rows begin `ld` elements apart.
///
/// # Safety
/// `ld` is a multiple of the lanes and A has `size` rows of it; the vectors have as many elements as whole registers of
/// `size` take, zeros behind the first `size`; the processor has the vector's features.
#[inline(always)]
pub unsafe fn reflect<V: Reduce>(a: &mut [f32], ld: usize, size: usize, vectors: [&[f32]; 3], p: &mut [f32]) {
    let (a, p, [v, w, u]) = (a.as_mut_ptr(), p.as_mut_ptr(), vectors.map(<[f32]>::as_ptr));
    // SAFETY: row i < size begins at i * ld and is a multiple of the lanes long; the block of a row, and what is left of
    // it, end with the registers of the vectors.
    unsafe {
        let zero = V::splat(&raw const simd::ZERO);
        for block in (0..size).step_by(V::LANES) {
            zero.store(p.add(block));
        }
        for block in (0..size).step_by(V::LANES) {
            let mut sums = [zero; MOST];
            let end = size.min(block + V::LANES);
            let mut row = block;
            while row + TOGETHER <= end {
                let some = rows::<V, TOGETHER>(a.add(row * ld), ld, block, row, [v, w, u], p);
                sums[row - block..][..TOGETHER].copy_from_slice(&some);
                row += TOGETHER;
            }
            while row < end {
                [sums[row - block]] = rows::<V, 1>(a.add(row * ld), ld, block, row, [v, w, u], p);
                row += 1;
            }
            V::load(p.add(block)).add(V::sums(sums.as_ptr())).store(p.add(block));
        }
    }
}

/// Rows `first`… up to the end of their block, which begins at column `block`; gives the lanes of their products with u.
///
/// # Safety
/// As for [`reflect`]; `a` points to the first of `N` rows.
#[inline(always)]
unsafe fn rows<V: Reduce, const N: usize>(
    a: *mut f32,
    ld: usize,
    block: usize,
    first: usize,
    [v, w, u]: [*const f32; 3],
    p: *mut f32,
) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(&raw const simd::ZERO);
        let (mut less_v, mut less_w, mut own, mut sums) = ([zero; N], [zero; N], [zero; N], [zero; N]);
        for i in 0..N {
            less_v[i] = zero.subtract(V::splat(v.add(first + i)));
            less_w[i] = zero.subtract(V::splat(w.add(first + i)));
            own[i] = V::splat(u.add(first + i));
        }
        for column in (0..block).step_by(V::LANES) {
            let [v, w, u] = [v, w, u].map(|x| V::load(x.add(column)));
            let mut sum = V::load(p.add(column));
            for i in 0..N {
                let at = a.add(i * ld + column);
                let x = V::load(at).fused(less_v[i], w).fused(less_w[i], v);
                x.store(at);
                sums[i] = sums[i].fused(x, u);
                sum = sum.fused(x, own[i]);
            }
            sum.store(p.add(column));
        }
        let [v, w, u] = [v, w, u].map(|x| V::load(x.add(block)));
        for i in 0..N {
            let at = a.add(i * ld + block);
            let x = V::load(at).fused(less_v[i], w).fused(less_w[i], v);
            x.store(at);
            sums[i] = sums[i].fused(x, u);
        }
        sums
    }
}
