//! The step of a tridiagonalisation: a symmetric matrix reflected, and multiplied by the next reflector on the way.
//!
//! Each row left of its diagonal is read once and stands for its column as well. The squares on the diagonal, of as many
//! rows as a register has lanes, are kept whole, so that no row has a rest.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use crate::{
    Error,
    kernel::{
        Kernel, LANES,
        isa::{Isa, Op},
        portable,
        vector::{MOST, Vector, ZERO},
    },
};

/// Rows that go together: what is loaded of the vectors serves all of them.
const TOGETHER: usize = 4;

/// A −= v·wᵀ + w·vᵀ and p = A·u for the leading `size` rows and columns of A, whose rows begin `ld` elements apart.
///
/// # Safety
/// `ld` is a multiple of the lanes and A has `size` rows of it; the vectors have as many elements as whole registers of
/// `size` take, zeros behind the first `size`; the processor has the vector's features.
#[inline(always)]
unsafe fn reflect<V: Vector>(a: &mut [f32], ld: usize, size: usize, vectors: [&[f32]; 3], p: &mut [f32]) {
    let (a, p, [v, w, u]) = (a.as_mut_ptr(), p.as_mut_ptr(), vectors.map(<[f32]>::as_ptr));
    // SAFETY: row i < size begins at i * ld and is a multiple of the lanes long; the registers of a row
    // end with those of the vectors.
    unsafe {
        let zero = V::splat(&raw const ZERO);
        for column in (0..size).step_by(V::LANES) {
            zero.store(p.add(column));
        }
        for column in (0..size).step_by(V::LANES) {
            let mut sums = [zero; MOST];
            let end = size.min(column + V::LANES);
            let mut row = column;
            while row + TOGETHER <= end {
                let some = rows::<V, TOGETHER>(a.add(row * ld), ld, column, row, [v, w, u], p);
                sums[row - column..][..TOGETHER].copy_from_slice(&some);
                row += TOGETHER;
            }
            while row < end {
                [sums[row - column]] = rows::<V, 1>(a.add(row * ld), ld, column, row, [v, w, u], p);
                row += 1;
            }
            V::load(p.add(column)).add(V::sums(sums.as_ptr())).store(p.add(column));
        }
    }
}

/// Rows `first`… of those whose diagonal is in the register at column `last`; gives the lanes of their products with u.
///
/// # Safety
/// As for [`reflect`]; `a` points to the first of `N` rows.
#[inline(always)]
unsafe fn rows<V: Vector, const N: usize>(
    a: *mut f32,
    ld: usize,
    last: usize,
    first: usize,
    [v, w, u]: [*const f32; 3],
    p: *mut f32,
) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(&raw const ZERO);
        let (mut less_v, mut less_w, mut own, mut sums) = ([zero; N], [zero; N], [zero; N], [zero; N]);
        for i in 0..N {
            less_v[i] = zero.subtract(V::splat(v.add(first + i)));
            less_w[i] = zero.subtract(V::splat(w.add(first + i)));
            own[i] = V::splat(u.add(first + i));
        }
        for column in (0..last).step_by(V::LANES) {
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
        let [v, w, u] = [v, w, u].map(|x| V::load(x.add(last)));
        for i in 0..N {
            let at = a.add(i * ld + last);
            let x = V::load(at).fused(less_v[i], w).fused(less_w[i], v);
            x.store(at);
            sums[i] = sums[i].fused(x, u);
        }
        sums
    }
}

/// A symmetric matrix, and what its step takes.
struct Reflect<'a> {
    a: &'a mut [f32],
    ld: usize,
    size: usize,
    vectors: [&'a [f32]; 3],
    p: &'a mut [f32],
}

impl Op for Reflect<'_> {
    type Output = ();
    #[inline(always)]
    fn portable(self) {
        portable::reflect(self.a, self.ld, self.size, self.vectors, self.p);
    }
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the operands hold the shapes; the caller's promise.
        unsafe { reflect::<I::Vector>(self.a, self.ld, self.size, self.vectors, self.p) }
    }
}

impl Kernel {
    /// A −= v·wᵀ + w·vᵀ and p = A·u for the lower triangle of the leading `size` rows and columns of a symmetric A, whose
    /// rows begin `ld` elements apart, a multiple of [`LANES`]. `vectors` are v, w and u, with zeros from `size` up to the
    /// next multiple of [`LANES`]. What A holds right of its diagonal must be finite and may change.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub(crate) fn reflect(
        self,
        a: &mut [f32],
        ld: usize,
        size: usize,
        vectors: [&[f32]; 3],
        p: &mut [f32],
    ) -> Result<(), Error> {
        let padded = size.next_multiple_of(LANES);
        let vectors_fit = vectors.iter().all(|x| x.len() >= padded) && p.len() >= padded;
        let matrix_fits = ld.is_multiple_of(LANES) && ld >= padded && a.len() / ld.max(1) >= size;
        if !vectors_fit || !matrix_fits {
            return Err(Error::Operands);
        }
        self.run(Reflect { a, ld, size, vectors, p });
        Ok(())
    }
}
