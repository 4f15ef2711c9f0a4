//! The small problem of a multi-read extraction: the Gram matrix of the products, the next product that it predicts,
//! and its eigenvectors.

use core::ops::Range;

use super::predict::Factored;
use crate::{
    Error, Kernel, gram_svd,
    linalg::panels,
    linalg::scratch::{Buffer, Scratch},
};

/// How near the squares of a predicted product and of the computed one are, at least.
const AGREES: f32 = 1e-4;

/// The share of all squares that is rounding, whatever the prediction.
const ROUNDING: f32 = 1e-7;

/// The Gram matrix of the products with panels of the basis and with the next one, and what is known of it.
#[derive(Debug)]
pub struct Gram<'s, const W: usize> {
    kernel: Kernel,
    /// Columns of the products at most, and the leading dimension.
    most: usize,
    /// Panels of which the products are known.
    known: usize,
    /// YᵀY and its Cholesky factor, as `predict.rs` has them.
    matrix: &'s mut [f32],
    diagonal: &'s mut [f32],
    /// Rᵀ, the products of the newest panel with the next one, and the sum of squares of the latter, as predicted.
    newest: &'s mut [f32],
    predicted: f32,
    /// The leading eigenvectors by columns, and all singular values of Y.
    vectors: &'s mut [f32],
    sigma: &'s mut [f32],
    /// Panels of which the eigenvectors are known, how many there are, and whether every eigenvalue was found.
    decomposed: usize,
    found: usize,
    converged: bool,
}

/// What [`Gram::new`] takes for that many panels, the next one among them, and eigenvectors.
pub fn scratch(panels: usize, width: usize, vectors: usize) -> Scratch {
    let size = Scratch::matrix(panels, width);
    let Ok(most) = size.count() else { return Scratch::OVERFLOW };
    let matrices =
        Scratch::matrix(most, most).and(Scratch::matrix(most, vectors)).and(Scratch::matrix(width, width));
    matrices.and(size.times(2))
}

impl<'s, const W: usize> Gram<'s, W> {
    /// For `panels` panels of the basis, the next one among them, and as many eigenvectors as `vectors` says.
    pub fn new(kernel: Kernel, panels: usize, vectors: usize, scratch: &mut Buffer<'s>) -> Self {
        let most = panels * W;
        Self {
            kernel,
            most,
            known: 0,
            matrix: scratch.take(most * most),
            diagonal: scratch.take(most),
            newest: scratch.take(W * W),
            predicted: 0.0,
            vectors: scratch.take(most * vectors),
            sigma: scratch.take(most),
            decomposed: 0,
            found: 0,
            converged: false,
        }
    }

    /// Panels of which the products are known.
    pub fn known(&self) -> usize {
        self.known
    }

    /// Columns of the products, those of the next panel among them.
    pub fn size(&self) -> usize {
        (self.known + 1) * W
    }

    /// The singular values, descending, after [`decompose`](Self::decompose).
    pub fn sigma(&self) -> &[f32] {
        &self.sigma[..self.size()]
    }

    /// How many directions exist.
    pub fn found(&self) -> usize {
        self.found
    }

    /// Whether every eigenvalue was found.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// Takes the product with one more panel of the basis, the last panel of `y` of `rows` rows, and predicts the next one from R.
    pub fn extend(&mut self, rows: usize, y: &[f32], r: &[[f32; W]; W]) -> Result<(), Error> {
        // By the recurrence the products with all others are rounding.
        let newest = (self.known.saturating_sub(1), self.known);
        panels::extend_gram::<W>(self.kernel, rows, y, newest, self.matrix, self.most)?;
        self.known += 1;
        let (kernel, size) = (self.kernel, self.known * W);
        let mut factored = self.factored();
        factored.extend::<W>(kernel, size);
        self.predicted = factored.append(size, r);
        for (i, actual) in self.newest.iter_mut().enumerate() {
            *actual = r[i % W][i / W];
        }
        Ok(())
    }

    fn factored(&mut self) -> Factored<'_> {
        Factored { gram: self.matrix, ld: self.most, diagonal: self.diagonal }
    }

    /// Writes the next product to the panel of `y` behind those that are known, as far as they know it. Where its squares
    /// are not those that were predicted, it is dropped and false returned: the reported energy would be wrong. `room`
    /// takes [`size`](Self::size) × `W` elements.
    pub fn materialize(&mut self, rows: usize, y: &mut [f32], room: &mut [f32]) -> Result<bool, Error> {
        let (size, most) = (self.known * W, self.most);
        let k = &mut room[..size * W];
        self.factored().coefficients::<W>(size, k);
        let (known, next) = y.split_at_mut(size * rows);
        let next = &mut next[..W * rows];
        panels::combine::<W>(self.kernel, rows, known, k, |_, i, product| {
            next[i * W..][..product.len() * W].copy_from_slice(product.as_flattened());
        })?;
        panels::extend_gram::<W>(self.kernel, rows, y, (0, self.known), self.matrix, most)?;
        let squares = |columns: Range<usize>| columns.map(|i| self.matrix[i * most + i]).sum::<f32>();
        let allowed = AGREES * self.predicted + ROUNDING * squares(0..size);
        let agrees = (squares(size..size + W) - self.predicted).abs() <= allowed;
        if !agrees {
            y[size * rows..][..W * rows].fill(0.0);
            self.matrix.chunks_exact_mut(most).take(size + W).for_each(|row| row[size..].fill(0.0));
            self.newest.fill(0.0);
            self.decomposed = 0;
        }
        Ok(agrees)
    }

    /// Finds the singular values and the `rank` leading eigenvectors; nothing where they are known. `room` takes what
    /// [`gram_svd`] does.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn decompose(&mut self, rank: usize, room: &mut [f32]) -> Result<(), Error> {
        if self.decomposed != self.known {
            let size = self.size();
            let found = rank.min(size);
            let vectors = &mut self.vectors[..found * size];
            let sigma = &mut self.sigma[..size];
            self.converged = gram_svd(self.kernel, self.matrix, self.most, vectors, sigma, room)?;
            (self.decomposed, self.found) = (self.known, found);
        }
        Ok(())
    }

    /// What the next panel adds to the energy of the leading `rank` directions. Without its coordinates w⁺ a direction w
    /// keeps σ² − (σ²·‖w⁺‖² − w⁺ᵀ·G⁺·w⁺)/(1 − ‖w⁺‖²), so this is no less than what it adds.
    pub fn last_step(&self, rank: usize) -> f64 {
        let (old, ld) = (self.known * W, self.most);
        let product = &self.matrix[old * ld..];
        let columns = self.vectors.chunks_exact(self.size()).zip(&*self.sigma);
        let lost = columns.take(rank.min(self.found)).map(|(column, sigma)| {
            let new = &column[old..];
            let square: f32 = new.iter().map(|x| x * x).sum();
            let within: f32 = product
                .chunks(ld)
                .zip(new)
                .map(|(row, x)| x * row[old..].iter().zip(new).map(|(g, y)| g * y).sum::<f32>())
                .sum();
            f64::from((sigma * sigma * square - within) / (1.0 - square).max(f32::EPSILON))
        });
        lost.sum()
    }

    /// What B·A of the leading `rank` directions keeps of Δ beyond its own sum of squares, after
    /// [`materialize`](Self::materialize). The prediction leaves out columns of Y that are hardly new; where a direction w
    /// lies partly in them, it is not orthogonal to what is missing of the next product Y₊: ⟨Δ, Y·w·(Q·w)ᵀ⟩ = σ² +
    /// wᵀ·([0; Rᵀ] − Yᵀ·Y₊)·w₊.
    pub fn beyond(&self, rank: usize) -> f64 {
        let (size, old) = (self.size(), self.known * W);
        let columns = self.vectors.chunks_exact(size).take(rank.min(self.found));
        let beyond = columns.map(|column| {
            let (known, next) = column.split_at(old);
            let rows = known.iter().zip(self.matrix.chunks(self.most)).enumerate();
            let beyond = rows.map(|(i, (w, row))| {
                let actual = (i + W).checked_sub(old).map_or(&[0.0; W][..], |a| &self.newest[a * W..][..W]);
                let missing = actual.iter().zip(&row[old..]).zip(next);
                w * missing.map(|((actual, known), next)| (actual - known) * next).sum::<f32>()
            });
            f64::from(2.0 * beyond.sum::<f32>())
        });
        beyond.sum()
    }

    /// The eigenvectors, and what is no longer needed as workspace, at the end.
    pub fn into_results(self) -> (&'s [f32], &'s mut [f32], &'s [f32]) {
        let size = self.size();
        let (vectors, sigma) = (&*self.vectors, &*self.sigma);
        (&vectors[..self.found * size], self.matrix, &sigma[..size])
    }
}
