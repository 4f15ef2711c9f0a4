//! Singular value decomposition by one-sided Jacobi rotations, after the contract of LAPACK's SGESVJ.

use crate::{Error, Kernel};

/// Diagnostics of a decomposition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Svd {
    /// Sweeps done, the last one without a rotation when it converged.
    pub sweeps: u32,
    /// Largest |cosine| between two columns that the last sweep met.
    pub largest_cosine: f32,
    /// Whether `largest_cosine` is within the tolerance. If not, the factors still multiply to A within rounding, but the
    /// columns of U are orthogonal only to `largest_cosine`.
    pub converged: bool,
    /// Singular values above 0.
    pub rank: usize,
    /// The true singular values are `scale` times those returned: a power of two, 1 unless A holds entries
    /// so large or so small that squares would overflow or underflow.
    pub scale: f32,
}

/// When to stop; [`Sweeps::default`] is right for a decomposition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sweeps {
    /// Two columns count as orthogonal when their cosine is at most this; 0 stands for √rows·ε.
    pub tolerance: f32,
    /// Sweeps at most.
    pub most: u32,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { tolerance: 0.0, most: 40 }
    }
}

/// Rows of pairs that are visited as a wave.
const WAVE: usize = 8;

/// Entries between these need no scaling: squares and their sums stay normal numbers.
const SAFE: core::ops::Range<f32> = 1e-9..1e15;

/// Decomposes A = U·Σ·Vᵀ in place.
///
/// * `a`: A by columns, each of `rows` contiguous elements, on entry; on return column j is column j of U,
///   zero where σⱼ is 0. A has at most as many columns as rows; decompose the transpose of a wide matrix.
/// * `sigma`: one element per column; on return the singular values, descending, each divided by
///   [`Svd::scale`]. Its length gives the number of columns.
/// * `v`: `None`, or a square matrix by columns, of as many columns as A; on return V.
///
/// No buffer may overlap another. Besides them no memory is used.
///
/// # Errors
/// [`Error::Wide`]; [`Error::OutputLength`] when a buffer does not fit the others; [`Error::NonFinite`] when A holds a NaN
/// or an infinity (`row` is then the column's index). Nothing is written in any of these cases.
///
/// Method: LAPACK SGESVJ; Drmač and Veselić, SIAM J. Matrix Anal. Appl. 29 (2008); pivoting by de Rijk.
pub fn jacobi_svd(
    kernel: Kernel,
    rows: usize,
    a: &mut [f32],
    sigma: &mut [f32],
    v: Option<&mut [f32]>,
    sweeps: Sweeps,
) -> Result<Svd, Error> {
    watched(kernel, rows, a, sigma, v, sweeps, &mut |_| ())
}

/// As [`jacobi_svd`]; `watch` is told now and then how many sweeps are done, counting what is done of the one that is under way.
pub fn watched(
    kernel: Kernel,
    rows: usize,
    a: &mut [f32],
    sigma: &mut [f32],
    mut v: Option<&mut [f32]>,
    sweeps: Sweeps,
    watch: &mut dyn FnMut(f32),
) -> Result<Svd, Error> {
    let cols = sigma.len();
    if cols > rows {
        return Err(Error::Wide);
    }
    let expected = rows.checked_mul(cols).ok_or(Error::TooLarge)?;
    if a.len() != expected {
        return Err(Error::OutputLength { expected });
    }
    if let Some(v) = v.as_deref_mut() {
        let expected = cols.checked_mul(cols).ok_or(Error::TooLarge)?;
        if v.len() != expected {
            return Err(Error::OutputLength { expected });
        }
    }
    if let Some(at) = a.iter().position(|x| !x.is_finite()) {
        return Err(Error::NonFinite { row: at / rows });
    }
    if let Some(v) = v.as_deref_mut() {
        v.fill(0.0);
        v.iter_mut().step_by(cols + 1).for_each(|diagonal| *diagonal = 1.0);
    }
    let scale = rescale(a);
    let tolerance = if sweeps.tolerance > 0.0 {
        sweeps.tolerance
    } else {
        libm::sqrtf(rows.max(1) as f32) * f32::EPSILON
    };
    let mut svd = Svd { sweeps: 0, largest_cosine: 0.0, converged: cols < 2, rank: 0, scale };
    let mut work = Columns { kernel, rows, a, cols, v, norms: sigma };
    work.measure();
    while !svd.converged && svd.sweeps < sweeps.most {
        let done = svd.sweeps as f32;
        svd.largest_cosine = work.sweep(tolerance, &mut |more| watch(done + more));
        svd.sweeps += 1;
        work.measure();
        svd.converged = svd.largest_cosine <= tolerance;
    }
    svd.rank = work.finish();
    Ok(svd)
}

/// Multiplies A by a power of two that makes it safe to square; returns what undoes it.
fn rescale(a: &mut [f32]) -> f32 {
    let largest = a.iter().fold(0.0_f32, |max, &x| if x.abs() > max { x.abs() } else { max });
    if largest == 0.0 || SAFE.contains(&largest) {
        return 1.0;
    }
    // The factor itself must be a normal number, so subnormal entries may need a second one; two steps of
    // 2⁶⁰ reach the safe range from either end.
    let factor = if largest < SAFE.start { 60 } else { -60 };
    let mut power = 0;
    let mut reached = largest;
    while !SAFE.contains(&reached) {
        reached = libm::ldexpf(reached, factor);
        power += factor;
    }
    for x in a {
        *x = libm::ldexpf(*x, power);
    }
    libm::ldexpf(1.0, -power)
}

/// The columns under rotation.
struct Columns<'a> {
    kernel: Kernel,
    rows: usize,
    cols: usize,
    a: &'a mut [f32],
    v: Option<&'a mut [f32]>,
    norms: &'a mut [f32],
}

impl Columns<'_> {
    /// Recomputes every column's norm.
    fn measure(&mut self) {
        for j in 0..self.cols {
            self.norms[j] = norm(self.kernel, column(self.a, self.rows, j));
        }
    }

    /// Visits every pair once, the longest remaining columns first; returns the largest cosine met.
    ///
    /// Row by row of pairs (p, q), [`WAVE`] of them as a wave: row i + 1 follows a pair behind row i, so that every pair
    /// finds its columns as if the rows came one after another, yet no pair waits for another.
    fn sweep(&mut self, tolerance: f32, watch: &mut dyn FnMut(f32)) -> f32 {
        let (mut largest, cols) = (0.0_f32, self.cols);
        let end = cols.saturating_sub(1);
        for first in (0..end).step_by(WAVE) {
            let rows = WAVE.min(end - first);
            (first..first + rows).for_each(|p| self.bring_longest_to(p));
            if self.norms[first] == 0.0 {
                break;
            }
            for step in 0..cols - first + rows - 2 {
                let row = |i: usize| (first + i, first + 1 + step - i);
                let pairs = (0..rows.min(step / 2 + 1)).map(row).filter(|&(_, q)| q < cols);
                largest = largest.max(self.round(pairs, tolerance));
            }
            // Pairs that are left, of all.
            let left = (end - first - rows) as f32 / end as f32;
            watch(1.0 - left * left);
        }
        largest
    }

    /// Visits pairs that have no column in common, at most [`WAVE`]; returns the largest cosine met.
    fn round(&mut self, pairs: impl Iterator<Item = (usize, usize)>, tolerance: f32) -> f32 {
        let mut all = [((0, 0), 0.0, None); WAVE];
        let mut count = 0;
        for pair in pairs {
            if self.norms[pair.0].min(self.norms[pair.1]) == 0.0 {
                continue;
            }
            // x is the longer one: the smaller of both angles then makes it longer still.
            let (p, q) = if self.norms[pair.0] < self.norms[pair.1] { (pair.1, pair.0) } else { pair };
            let (x, y) = (column(self.a, self.rows, p), column(self.a, self.rows, q));
            all[count] = ((p, q), cosine(self.kernel, x, y, self.norms[p], self.norms[q]), None);
            count += 1;
        }
        let all = &mut all[..count];
        let mut largest = 0.0_f32;
        for (pair, cosine, turn) in all.iter_mut() {
            *turn = self.turn(*pair, *cosine, tolerance);
            // A cosine that nothing can be done about is none to wait for.
            if turn.is_some() || cosine.abs() <= tolerance {
                largest = largest.max(cosine.abs());
            }
        }
        for &mut ((p, q), _, turn) in all {
            let Some((c, s)) = turn else { continue };
            let (x, y) = two_columns(self.a, self.rows, p, q);
            self.kernel.rotate(x, y, c, s);
            if self.norms[q] < 0.0 {
                self.norms[q] = norm(self.kernel, y);
            }
            if let Some(v) = self.v.as_deref_mut() {
                let (x, y) = two_columns(v, self.cols, p, q);
                self.kernel.rotate(x, y, c, s);
            }
        }
        largest
    }

    /// De Rijk's pivoting: the longest of columns p… becomes column p.
    fn bring_longest_to(&mut self, p: usize) {
        let mut longest = p;
        for q in p + 1..self.cols {
            if self.norms[q] > self.norms[longest] {
                longest = q;
            }
        }
        self.swap(p, longest);
    }

    fn swap(&mut self, p: usize, q: usize) {
        if p == q {
            return;
        }
        self.norms.swap(p, q);
        let (x, y) = two_columns(self.a, self.rows, p, q);
        x.swap_with_slice(y);
        if let Some(v) = self.v.as_deref_mut() {
            let (x, y) = two_columns(v, self.cols, p, q);
            x.swap_with_slice(y);
        }
    }

    /// Cosine and sine of the angle that makes columns p and q, of which p is not shorter, orthogonal, and their norms then:
    /// below 0 where it is to be measured. `None` where they are orthogonal or cannot be made so.
    fn turn(&mut self, (p, q): (usize, usize), cosine: f32, tolerance: f32) -> Option<(f32, f32)> {
        let (norm_x, norm_y) = (self.norms[p], self.norms[q]);
        // Below the normal numbers the entries say no more about the angle.
        if cosine.abs() <= tolerance || cosine.abs() * norm_y <= self.rows as f32 * SMALLEST {
            return None;
        }
        // tan of the angle that annihilates x·y, the smaller of the two roots. x is the longer column, so the sign of tau
        // is that of −cosine, also where the norms are equal.
        let cosine = cosine.clamp(-1.0, 1.0);
        let ratio = norm_y / norm_x;
        let tau = (ratio - 1.0 / ratio) / (2.0 * cosine);
        let root = if tau.abs() < 1e6 { libm::sqrtf(1.0 + tau * tau) } else { tau.abs() };
        let t = libm::copysignf(1.0, -cosine) / (tau.abs() + root);
        let c = 1.0 / libm::sqrtf(1.0 + t * t);
        let s = t * c;
        if s == 0.0 {
            // y is shorter than x by more than the range of f32: nothing can be represented.
            return None;
        }
        let grown = 1.0 - t * cosine * ratio;
        let shrunk = 1.0 + t * cosine / ratio;
        self.norms[p] = norm_x * libm::sqrtf(grown);
        // Where most of y went into x, the formula has lost its digits.
        self.norms[q] = if shrunk > 0.1 { norm_y * libm::sqrtf(shrunk) } else { -1.0 };
        Some((c, s))
    }

    /// Sorts by norm and normalises; returns the number of columns above 0.
    fn finish(&mut self) -> usize {
        let mut rank = 0;
        for p in 0..self.cols {
            self.bring_longest_to(p);
            let norm = self.norms[p];
            if norm > 0.0 {
                rank = p + 1;
                self.a[p * self.rows..][..self.rows].iter_mut().for_each(|x| *x /= norm);
            }
        }
        rank
    }
}

/// The distance of subnormal numbers.
const SMALLEST: f32 = f32::from_bits(1);

/// Sums of squares between these have lost nothing to underflow or overflow.
const TRUSTED: core::ops::Range<f32> = 1e-24..1e36;

fn norm(kernel: Kernel, x: &[f32]) -> f32 {
    let squares = kernel.dot(x, x);
    if TRUSTED.contains(&squares) {
        return libm::sqrtf(squares);
    }
    libm::sqrt(wide_dot(x, x)) as f32
}

fn cosine(kernel: Kernel, x: &[f32], y: &[f32], norm_x: f32, norm_y: f32) -> f32 {
    if TRUSTED.contains(&(norm_x * norm_y)) {
        kernel.dot(x, y) / norm_x / norm_y
    } else {
        (wide_dot(x, y) / f64::from(norm_x) / f64::from(norm_y)) as f32
    }
}

/// x·y in f64, where products of f32 neither overflow nor underflow.
fn wide_dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

fn column(a: &[f32], rows: usize, j: usize) -> &[f32] {
    &a[j * rows..][..rows]
}

/// Columns p < q, or q < p, of a matrix by columns.
fn two_columns(a: &mut [f32], rows: usize, p: usize, q: usize) -> (&mut [f32], &mut [f32]) {
    let (low, high) = (p.min(q), p.max(q));
    let (head, tail) = a.split_at_mut(high * rows);
    let (x, y) = (&mut head[low * rows..][..rows], &mut tail[..rows]);
    if p < q { (x, y) } else { (y, x) }
}
