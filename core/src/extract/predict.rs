//! Predicts the product with the next panel of the basis: its projection onto the space of the products so far.
//!
//! After read j the next panel Q₊ is known from Z = Δᵀ·Yⱼ = Q·H + Q₊·R, but Δ·Q₊ is not. Its projection onto the
//! space of Y is: Yᵀ·Δ·Q₊ is zero but for Rᵀ, in the rows of Yⱼ. With YᵀY = L·Lᵀ the projection
//! is Y·K, K = L⁻ᵀ·[0; V], V = Lⱼⱼ⁻¹·Rᵀ, and its Gram matrix is VᵀV. Beside the products that were computed it makes
//! Δ̃ = Y·Qᵀ + Y·K·Q₊ᵀ the projection of Δ onto the space of Y: what half a read more would have brought
//! (Golub and Kahan 1965: the other half of a step of bidiagonalisation).
//!
//! A column of Y of which less than [`DEPENDENT`] is new gets a pivot of 0: the projection leaves it out.

use crate::Kernel;

/// A squared length that projection shrinks below this share of itself is not known well enough: the errors of f32 grow
/// from column to column.
const DEPENDENT: f32 = 1e-2;

/// The Gram matrix of Y in the upper triangle of `gram`, its Cholesky factor in the lower one, and V in the rows below
/// that.
pub struct Factored<'a> {
    pub gram: &'a mut [f32],
    /// Elements from one row to the next.
    pub ld: usize,
    /// The factor's diagonal.
    pub diagonal: &'a mut [f32],
}

impl Factored<'_> {
    /// Factors the last `W` of the first `size` rows; those before are factored.
    pub fn extend<const W: usize>(&mut self, kernel: Kernel, size: usize) {
        let start = band::<W>(size - 1);
        for i in size - W..size {
            let (done, row) = self.gram.split_at_mut(i * self.ld);
            row[..start].fill(0.0);
            for (j, earlier) in done.chunks_exact(self.ld).enumerate().skip(start) {
                let known = kernel.dot(&row[start..j], &earlier[start..j]);
                row[j] = over(earlier[i] - known, self.diagonal[j]);
            }
            let square = row[i];
            let new = square - kernel.dot(&row[start..i], &row[start..i]);
            self.diagonal[i] = if new > DEPENDENT * square { libm::sqrtf(new) } else { 0.0 };
        }
    }

    /// Adds the projection to the Gram matrix, as the `W` rows and columns behind the first `size`; `r` is R. Returns
    /// its sum of squares.
    pub fn append<const W: usize>(&mut self, size: usize, r: &[[f32; W]; W]) -> f32 {
        let Self { gram, ld, diagonal } = self;
        let newest = size - W;
        let mut v = [[0.0_f32; W]; W];
        for row in gram.chunks_exact_mut(*ld).take(newest) {
            row[size..][..W].fill(0.0);
        }
        for (a, row) in gram.chunks_exact_mut(*ld).skip(newest).take(W).enumerate() {
            let (l, product) = row[newest..].split_at_mut(W);
            let pivot = diagonal[newest + a];
            for b in 0..W {
                let known: f32 = l[..a].iter().zip(&v).map(|(l, v)| l * v[b]).sum();
                v[a][b] = over(r[b][a] - known, pivot);
                product[b] = known + pivot * v[a][b];
            }
        }
        for (a, row) in gram.chunks_exact_mut(*ld).skip(size).take(W).enumerate() {
            let (left, product) = row[newest..].split_at_mut(W);
            for b in 0..W {
                left[b] = v[b][a];
                product[b] = v.iter().map(|v| v[a] * v[b]).sum();
            }
        }
        v.as_flattened().iter().map(|v| v * v).sum()
    }

    /// K, `size` × `W`, row-major.
    pub fn coefficients<const W: usize>(&self, size: usize, k: &mut [f32]) {
        let k = &mut k.as_chunks_mut::<W>().0[..size];
        k.fill([0.0; W]);
        for (b, row) in self.gram.chunks_exact(self.ld).skip(size).take(W).enumerate() {
            k[size - W..].iter_mut().zip(&row[size - W..]).for_each(|(k, &v)| k[b] = v);
        }
        for (i, l) in self.gram.chunks_exact(self.ld).take(size).enumerate().rev() {
            let (above, row) = k.split_at_mut(i);
            let row = &mut row[0];
            for x in row.iter_mut() {
                *x = over(*x, self.diagonal[i]);
            }
            for (above, l) in above.iter_mut().zip(l).skip(band::<W>(i)) {
                above.iter_mut().zip(&*row).for_each(|(x, known)| *x -= l * known);
            }
        }
    }
}

/// Where row i of the factor begins: at the panel before its own.
const fn band<const W: usize>(i: usize) -> usize {
    (i / W).saturating_sub(1) * W
}

/// x/pivot; 0 for a pivot of 0.
fn over(x: f32, pivot: f32) -> f32 {
    if pivot > 0.0 { x / pivot } else { 0.0 }
}
