//! Reduces a symmetric matrix to tridiagonal form, computes its eigenvalues, and transforms eigenvectors back.

use crate::{Error, Kernel, kernel::Strided};

/// Reflectors that are applied together, to as many vectors.
pub const REFLECTORS: usize = if cfg!(feature = "wide") { 16 } else { 8 };

/// Squared couplings up to this are left out, beside a largest entry of 1: squares of smaller ones would lose digits.
const NOTHING: f32 = 1e-28;

/// QL steps per eigenvalue at most; two do.
const STEPS: u32 = 60;

/// A symmetric tridiagonal matrix.
#[derive(Debug)]
pub struct Tridiagonal<'a> {
    pub diagonal: &'a mut [f32],
    /// Element k couples k − 1 and k; 0 at both ends.
    pub beside: &'a mut [f32],
}

/// Makes the symmetric `matrix` tridiagonal, from the last row on. It has rows of whole lanes, of which the lower triangle
/// counts, and the squares on the diagonal, of as many rows as there are lanes, as a whole. Row k keeps the reflector u
/// of length k, in front of zeros, and `inverse[k]` is 2/‖u‖², or 0 where there is none. `w` and `p` are rows to work with.
///
/// EISPACK TRED2, with the update of one reflection and the product with the next reflector in one go.
///
/// # Errors
/// [`Error::Operands`].
pub fn reduce<'w>(
    kernel: Kernel,
    matrix: &mut [f32],
    to: &mut Tridiagonal<'_>,
    inverse: &mut [f32],
    mut w: &'w mut [f32],
    mut p: &'w mut [f32],
) -> Result<(), Error> {
    let (size, length) = (to.diagonal.len(), w.len());
    for zeros in [&mut *w, &mut *p, &mut *inverse, &mut *to.beside] {
        zeros.fill(0.0);
    }
    for k in (0..size).rev() {
        // Rows up to k still lack the update v·wᵀ + w·vᵀ of the reflection before, whose v is in row k + 1.
        let (head, tail) = matrix.split_at_mut((k + 1) * length);
        let v = tail.get(..length).filter(|_| k + 1 < size).unwrap_or(w);
        let (head, row) = head.split_at_mut(k * length);
        kernel.subtract_scaled(&mut row[..=k], v[k], &w[..=k]);
        kernel.subtract_scaled(&mut row[..=k], w[k], v);
        to.diagonal[k] = row[k];
        row[k..].fill(0.0);
        let Some(last) = k.checked_sub(1) else { break };
        let coupling = row[last];
        let rest = kernel.dot(&row[..last], &row[..last]);
        if rest > NOTHING {
            let norm = libm::sqrtf(rest + coupling * coupling);
            let signed = libm::copysignf(norm, coupling);
            to.beside[k] = -signed;
            row[last] += signed;
            inverse[k] = 1.0 / (norm * (norm + coupling.abs()));
        } else {
            to.beside[k] = coupling;
            row.fill(0.0);
        }
        kernel.reflect(head, length, k, [v, w, row], p)?;
        p[k..].fill(0.0);
        for p in &mut p[..k] {
            *p *= inverse[k];
        }
        let half = 0.5 * inverse[k] * kernel.dot(p, row);
        kernel.subtract_scaled(p, half, row);
        core::mem::swap(&mut w, &mut p);
    }
    Ok(())
}

/// The eigenvalues, in any order, in the place of the diagonal; what was beside it is lost. False where one was not found.
///
/// LAPACK STERF, the rational QL method of Pal, Walker and Kahan.
pub fn eigenvalues(matrix: &mut Tridiagonal<'_>) -> bool {
    let Tridiagonal { diagonal: d, beside: e } = matrix;
    // From here on element k is the square of what couples k and k + 1.
    for k in 1..e.len() {
        e[k - 1] = e[k] * e[k];
    }
    let mut found = true;
    for first in 0..d.len() {
        let mut steps = 0;
        loop {
            let is_small = |&k: &usize| {
                let about = 0.5 * f32::EPSILON * (d[k].abs() + d[k + 1].abs());
                e[k] <= (about * about).max(NOTHING)
            };
            let last = (first..d.len() - 1).find(is_small).unwrap_or(d.len() - 1);
            if last == first {
                break;
            }
            steps += 1;
            if steps > STEPS {
                found = false;
                break;
            }
            step(&mut d[first..=last], &mut e[first..last]);
        }
    }
    found
}

/// One QL step of an unreduced submatrix; `e` holds squares.
fn step(d: &mut [f32], e: &mut [f32]) {
    let root = libm::sqrtf(e[0]);
    let ratio = (d[1] - d[0]) / (2.0 * root);
    let sigma = d[0] - root / (ratio + libm::copysignf(libm::sqrtf(ratio * ratio + 1.0), ratio));
    let (mut c, mut s, mut gamma) = (1.0, 0.0, d[e.len()] - sigma);
    let mut p = gamma * gamma;
    for i in (0..e.len()).rev() {
        let square = e[i];
        let r = p + square;
        if let Some(below) = e.get_mut(i + 1) {
            *below = s * r;
        }
        let (before, inverse) = (c, 1.0 / r);
        (c, s) = (p * inverse, square * inverse);
        let old = gamma;
        gamma = c * (d[i] - sigma) - s * old;
        d[i + 1] = old + (d[i] - gamma);
        p = if c == 0.0 { before * square } else { gamma * gamma / c };
    }
    e[0] = s * p;
    d[0] = sigma + gamma;
}

/// The reflectors that [`reduce`] leaves, in groups of [`REFLECTORS`] rows U: I − Uᵀ·M·U each.
pub struct Reflectors<'w> {
    kernel: Kernel,
    rows: &'w [f32],
    /// Elements of a row.
    length: usize,
    /// M of each group, lower triangular.
    products: &'w [f32],
}

impl<'w> Reflectors<'w> {
    /// `products` takes [`REFLECTORS`] elements per row.
    pub fn new(
        kernel: Kernel,
        rows: &'w [f32],
        length: usize,
        inverse: &[f32],
        products: &'w mut [f32],
    ) -> Self {
        let groups = rows.chunks_exact(REFLECTORS * length).zip(inverse.chunks(REFLECTORS));
        let each = products.as_chunks_mut::<REFLECTORS>().0.chunks_exact_mut(REFLECTORS);
        for ((group, inverse), m) in groups.zip(each) {
            m.as_flattened_mut().fill(0.0);
            for (j, (&inverse, reflector)) in inverse.iter().zip(group.chunks_exact(length)).enumerate() {
                let (done, row) = m.split_at_mut(j);
                for (earlier, other) in done.iter().zip(group.chunks_exact(length)) {
                    let along = kernel.dot(reflector, other);
                    row[0].iter_mut().zip(earlier).for_each(|(x, y)| *x -= inverse * along * y);
                }
                row[0][j] = inverse;
            }
        }
        Self { kernel, rows, length, products }
    }

    /// Turns eigenvectors of the tridiagonal matrix into those of the matrix it came from, whose row i was row
    /// [`row_number`]`(order[i])`: `vectors` by columns, [`REFLECTORS`] of them at a time in `panel`.
    ///
    /// # Errors
    /// [`Error::Operands`].
    pub fn apply(self, vectors: &mut [f32], order: &[f32], panel: &mut [f32]) -> Result<(), Error> {
        let Self { kernel, rows, length, products } = self;
        let size = order.len();
        for some in vectors.chunks_mut(REFLECTORS * size) {
            panel.fill(0.0);
            for (j, column) in some.chunks_exact(size).enumerate() {
                panel.iter_mut().skip(j).step_by(REFLECTORS).zip(column).for_each(|(out, x)| *out = *x);
            }
            let each = products.as_chunks::<REFLECTORS>().0.chunks_exact(REFLECTORS);
            for (group, m) in rows.chunks_exact(REFLECTORS * length).zip(each) {
                let (mut along, mut less) =
                    ([[0.0_f32; REFLECTORS]; REFLECTORS], [[0.0_f32; REFLECTORS]; REFLECTORS]);
                let u = Strided::row_major(group, length);
                kernel.product::<REFLECTORS>(u, REFLECTORS, length, panel, along.as_flattened_mut())?;
                for (less, m) in less.iter_mut().zip(m) {
                    for (m, along) in m.iter().zip(&along) {
                        less.iter_mut().zip(along).for_each(|(less, along)| *less -= m * along);
                    }
                }
                kernel.product::<REFLECTORS>(
                    u.transposed(),
                    length,
                    REFLECTORS,
                    less.as_flattened(),
                    panel,
                )?;
            }
            for (j, column) in some.chunks_exact_mut(size).enumerate() {
                let turned = panel.iter().skip(j).step_by(REFLECTORS);
                order.iter().zip(turned).for_each(|(&at, &x)| column[row_number(at)] = x);
            }
        }
        Ok(())
    }
}

/// A row number that is kept among f32: its bits.
pub const fn row_number(bits: f32) -> usize {
    bits.to_bits() as usize
}
