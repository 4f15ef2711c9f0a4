//! Several adapters of one layer as one of a given rank, without ever forming their product.
//!
//! Σ sᵢ·Bᵢ·Aᵢ = B·D·A for the factors side by side B = [B₁ B₂ …], A = [A₁; A₂; …] and a diagonal D. With B = Q·R and
//! Aᵀ = P·S the product is Q·(R·D·Sᵀ)·Pᵀ, and the singular value decomposition of the small core in the middle,
//! truncated, gives the best factors of the wanted rank (Eckart and Young). Their columns are brought to a
//! size near 1 first and the powers of two go into D, so factors of any scale may meet.

use crate::{
    Adapter, Error, Kernel, Shape, Sweeps,
    adapter::factors::Factor,
    extract::{Outputs, unit_scale},
    jacobi_svd,
    kernel::PIECE,
    linalg::orthonormal::orthonormalize,
    linalg::panels,
    linalg::scratch::{Buffer, Scratch},
};

/// Width of a panel.
const W: usize = 8;

/// Rows that are decoded a second time together.
const DECODED: usize = 256;

/// Diagnostics of a combination.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Combined {
    /// ‖Σ sᵢ·Bᵢ·Aᵢ‖²_F.
    pub sum_squares: f64,
    /// Σσ² of the singular values written.
    pub kept: f64,
    /// Singular values above 0, those at the level of rounding included.
    pub rank: usize,
    /// Sweeps that the decomposition of the core took.
    pub sweeps: u32,
    /// Whether it converged. If not, the factors multiply to what `kept` says, but another choice of directions
    /// may keep a little more.
    pub converged: bool,
}

impl Combined {
    /// The share of ‖Σ sᵢ·Bᵢ·Aᵢ‖²_F that is kept, 1 for a product that is zero.
    pub fn energy(&self) -> f64 {
        if self.sum_squares > 0.0 { (self.kept / self.sum_squares).min(1.0) } else { 1.0 }
    }
}

/// Scratch of [`combine`] for adapters of `shape` whose ranks add up to `ranks`, for a result of `rank`.
pub const fn combine_scratch(shape: Shape, ranks: usize, rank: usize) -> Scratch {
    let Some(width) = ranks.checked_next_multiple_of(W) else { return Scratch::OVERFLOW };
    let columns = Scratch::matrix(shape.rows, width).and(Scratch::matrix(shape.cols, width));
    let small = Scratch::matrix(width, width).times(3).and(Scratch::elements(width).times(4));
    let decoded = Scratch::matrix(DECODED, width);
    let out =
        Scratch::matrix(panels::PANEL_ROWS, if rank < ranks { rank } else { ranks }.next_multiple_of(W));
    columns.and(small).and(decoded.or(out))
}

/// Writes the factors of the best approximation of Σ wᵢ·(adapter i) within a rank: B·A with √Σ in each, scale 1.
///
/// * `terms`: adapters of one shape, each with its weight; one alone with weight 1 is truncated.
/// * `rank`: of the result, at least 1. Directions beyond the rank of the sum get zeros, or, where rounding hides
///   that they do not exist, values of its size.
/// * `a`: lora_a, rank × cols, row-major; `b`: lora_b, rows × rank, row-major.
/// * `singular_values`: at least rank elements, descending; what is longer gets the values of the sum that were
///   not kept, then zeros.
/// * `scratch`: at least [`combine_scratch`] elements.
///
/// # Errors
/// [`Error::RankZero`]; [`Error::Empty`] without a term; [`Error::AdapterShape`] with the first term that has another
/// shape than the first; [`Error::NonFiniteScale`] when a weight, or [`Error::NonFiniteFactor`] with the index of
/// the term when a factor is no number; [`Error::OutputLength`]; [`Error::ScratchTooSmall`]; [`Error::OutOfRange`]
/// when a singular value exceeds f32. Outputs are written on success alone.
///
/// ```
/// use phlora_core::{Adapter, Dtype, Kernel, Rows, Shape, combine, combine_scratch};
///
/// let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
/// let (shape, a, b) = (Shape { rows: 2, cols: 2 }, bytes(&[0.0, 4.0]), bytes(&[1.0, 0.0]));
/// let adapter = Adapter::new(shape, 1, Rows::new(Dtype::F32, &a), Rows::new(Dtype::F32, &b), 1.0)?;
/// let terms = [(adapter, 0.75), (adapter, 0.25)];
/// let mut scratch = vec![0.0; combine_scratch(shape, 2, 1).count()?];
/// let (mut a, mut b, mut sigma) = ([0.0; 2], [0.0; 2], [0.0; 1]);
/// let combined = combine(Kernel::detect(), &terms, 1, &mut a, &mut b, &mut sigma, &mut scratch)?;
/// assert!((sigma[0] - 4.0).abs() < 1e-5 && combined.energy() > 0.999_99);
/// # Ok::<(), phlora_core::Error>(())
/// ```
pub fn combine(
    kernel: Kernel,
    terms: &[(Adapter<'_>, f32)],
    rank: usize,
    a: &mut [f32],
    b: &mut [f32],
    singular_values: &mut [f32],
    scratch: &mut [f32],
) -> Result<Combined, Error> {
    if rank == 0 {
        return Err(Error::RankZero);
    }
    let shape = terms.first().ok_or(Error::Empty)?.0.shape();
    let mut ranks = 0_usize;
    for (index, (adapter, weight)) in terms.iter().enumerate() {
        if adapter.shape() != shape {
            return Err(Error::AdapterShape { index });
        }
        if !weight.is_finite() {
            return Err(Error::NonFiniteScale);
        }
        ranks = ranks.checked_add(adapter.rank()).ok_or(Error::TooLarge)?;
    }
    let mut outputs = Outputs { a, b, singular_values, rank };
    outputs.check(shape)?;
    let needed = combine_scratch(shape, ranks, rank).count()?;
    if scratch.len() < needed {
        return Err(Error::ScratchTooSmall { needed });
    }
    let width = ranks.next_multiple_of(W);
    let mut scratch = Buffer(scratch);
    let (q, p) = (scratch.take(shape.rows * width), scratch.take(shape.cols * width));
    let (core, r, s) =
        (scratch.take(width * width), scratch.take(width * width), scratch.take(width * width));
    let (scale_b, scale_a) = (scratch.take(width), scratch.take(width));
    let (d, sigma) = (scratch.take(width), scratch.take(width));
    let temp = scratch.0;

    let left = Columns { kernel, terms, side: Side::B, rows: shape.rows, width };
    let right = Columns { kernel, terms, side: Side::A, rows: shape.cols, width };
    left.factor(q, scale_b, r, temp)?;
    right.factor(p, scale_a, s, temp)?;
    let Some(exponent) = weigh(terms, scale_b, scale_a, d) else {
        outputs.fill_zero();
        return Ok(Combined { sum_squares: 0.0, kept: 0.0, rank: 0, sweeps: 0, converged: true });
    };
    product(kernel, width, r, d, s, core);
    let squares: f64 = core.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let (u, v) = (core, s);

    let svd =
        jacobi_svd(kernel, width, u, sigma, Some(v), Sweeps::default()).map_err(|_| Error::OutOfRange)?;
    let unscale = libm::ldexp(f64::from(svd.scale), exponent);
    let true_unscale = libm::ldexp(1.0, exponent);
    outputs.check_range(
        sigma.iter().fold(0.0, |largest, &sigma| f64::max(largest, f64::from(sigma) * unscale)),
    )?;
    // Columns of U·…, V·Σ; what is beyond the columns does not exist.
    let found = rank.min(ranks);
    let out = found.div_ceil(W);
    let temp = &mut temp[..panels::PANEL_ROWS * W * out];
    let entry = |vectors: &[f32], k: usize, j: usize| if j < found { vectors[j * width + k] } else { 0.0 };
    panels::replace::<W>(kernel, shape.rows, q, out, |k, j| entry(u, k, j), temp)?;
    panels::replace::<W>(kernel, shape.cols, p, out, |k, j| entry(v, k, j) * sigma[j], temp)?;
    let kept = outputs.write_pair::<W>(shape, found, q, p, unscale);
    outputs.fill_rest(&sigma[..ranks], unscale);
    outputs.check_finite()?;
    let sum_squares = squares * true_unscale * true_unscale;
    Ok(Combined { sum_squares, kept, rank: svd.rank, sweeps: svd.sweeps, converged: svd.converged })
}

/// Which factors are side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Columns are those of B.
    B,
    /// Columns are the rows of A.
    A,
}

/// The columns of all factors of one side, one after another: `rows` × `width`, zero beyond the last.
struct Columns<'t> {
    kernel: Kernel,
    terms: &'t [(Adapter<'t>, f32)],
    side: Side,
    rows: usize,
    width: usize,
}

impl Columns<'_> {
    /// Brings the columns to a size near 1 by the powers of two in `scale`, and factors them as Q·R: Q in
    /// panels, R by columns of `width` elements.
    fn factor(&self, q: &mut [f32], scale: &mut [f32], r: &mut [f32], temp: &mut [f32]) -> Result<(), Error> {
        let (kernel, rows, width) = (self.kernel, self.rows, self.width);
        scale.fill(0.0);
        r.fill(0.0);
        if rows == 0 {
            return Ok(());
        }
        self.load(0, rows, q);
        for (panel, scale) in q.chunks_exact(rows * W).zip(scale.as_chunks_mut::<W>().0) {
            let mut largest = [0.0_f32; W];
            for row in panel.as_chunks::<W>().0 {
                for (largest, x) in largest.iter_mut().zip(row) {
                    // NaN is taken and stays.
                    let keep = largest.is_nan() || x.abs() <= *largest;
                    *largest = if keep { *largest } else { x.abs() };
                }
            }
            for (scale, largest) in scale.iter_mut().zip(largest) {
                *scale = if largest > 0.0 && largest.is_finite() { unit_scale(largest) } else { largest };
            }
        }
        if let Some(column) = scale.iter().position(|scale| !scale.is_finite()) {
            return Err(Error::NonFiniteFactor { index: self.term_of(column) });
        }
        for (panel, scale) in q.chunks_exact_mut(rows * W).zip(scale.as_chunks::<W>().0) {
            multiply_columns(panel, scale);
        }
        for last in 0..width / W {
            let (basis, rest) = q.split_at_mut(last * rows * W);
            orthonormalize::<W>(kernel, rows, basis, usize::MAX, &mut rest[..rows * W])?;
        }
        // R = Qᵀ·(the columns), which are decoded once more for it: what those of Q went through is forgotten.
        for first in (0..rows).step_by(DECODED) {
            let count = DECODED.min(rows - first);
            let decoded = &mut temp[..count * width];
            self.load(first, count, decoded);
            for (j, (panel, scale)) in
                decoded.chunks_exact_mut(count * W).zip(scale.as_chunks::<W>().0).enumerate()
            {
                multiply_columns(panel, scale);
                for (k, q) in q.chunks_exact(rows * W).enumerate() {
                    let product = panels::cross::<W>(kernel, &q[first * W..][..count * W], panel)?;
                    for (i, row) in product.iter().enumerate() {
                        for (l, value) in row.iter().enumerate() {
                            r[(j * W + l) * width + k * W + i] += value;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes rows `first`… of them, `count` rows, as panels.
    fn load(&self, first: usize, count: usize, out: &mut [f32]) {
        out.fill(0.0);
        let mut column = 0;
        for (adapter, _) in self.terms {
            match self.side {
                Side::B => {
                    let factor = adapter.b();
                    for i in 0..count {
                        each_entry(self.kernel, factor, first + i, 0, factor.cols, |k, value| {
                            out[place(column + k, i, count)] = value;
                        });
                    }
                }
                Side::A => {
                    for k in 0..adapter.rank() {
                        each_entry(self.kernel, adapter.a(), k, first, count, |i, value| {
                            out[place(column + k, i, count)] = value;
                        });
                    }
                }
            }
            column += adapter.rank();
        }
    }

    /// The term that a column belongs to.
    fn term_of(&self, column: usize) -> usize {
        let mut end = 0;
        let term = self.terms.iter().position(|(adapter, _)| {
            end += adapter.rank();
            column < end
        });
        term.unwrap_or_default()
    }
}

/// Where entry (i, column) of a matrix in panels of `rows` rows is.
const fn place(column: usize, i: usize, rows: usize) -> usize {
    (column / W * rows + i) * W + column % W
}

/// Hands out entries `from`… of a row, `len` of them, each with its place from `from` on.
fn each_entry(
    kernel: Kernel,
    factor: Factor<'_>,
    row: usize,
    from: usize,
    len: usize,
    mut take: impl FnMut(usize, f32),
) {
    let mut piece = [0.0; PIECE];
    for start in (0..len).step_by(PIECE) {
        let piece = &mut piece[..PIECE.min(len - start)];
        kernel.decode(factor.piece(row, from + start, piece.len()), piece);
        for (i, &value) in piece.iter().enumerate() {
            take(start + i, value);
        }
    }
}

fn multiply_columns(panel: &mut [f32], scale: &[f32; W]) {
    for row in panel.as_chunks_mut::<W>().0 {
        for (x, scale) in row.iter_mut().zip(scale) {
            *x *= scale;
        }
    }
}

/// Fills the diagonal D with what the columns were divided by, times scales and weights, all of it times a power of
/// two that brings the largest near 1. Returns its exponent, negated; `None` when D is zero.
fn weigh(terms: &[(Adapter<'_>, f32)], scale_b: &[f32], scale_a: &[f32], d: &mut [f32]) -> Option<i32> {
    let entries = || {
        let strengths = terms.iter().flat_map(|(adapter, weight)| {
            core::iter::repeat_n(f64::from(adapter.scale()) * f64::from(*weight), adapter.rank())
        });
        strengths.zip(scale_b.iter().zip(scale_a)).map(|(strength, (&b, &a))| {
            // A column of zeros has scale 0.
            if b == 0.0 || a == 0.0 { 0.0 } else { strength / f64::from(b) / f64::from(a) }
        })
    };
    let largest = entries().fold(0.0_f64, |largest, d| largest.max(d.abs()));
    if largest == 0.0 {
        return None;
    }
    let exponent = libm::ilogb(largest);
    d.fill(0.0);
    for (d, entry) in d.iter_mut().zip(entries()) {
        *d = libm::ldexp(entry, -exponent) as f32;
    }
    Some(exponent)
}

/// C = R·D·Sᵀ, all of `width` × `width` by columns.
fn product(kernel: Kernel, width: usize, r: &[f32], d: &[f32], s: &[f32], c: &mut [f32]) {
    c.fill(0.0);
    for (j, c) in c.chunks_exact_mut(width).enumerate() {
        for (k, (r, &d)) in r.chunks_exact(width).zip(d).enumerate() {
            let factor = d * s[k * width + j];
            if factor != 0.0 {
                kernel.subtract_scaled(c, -factor, r);
            }
        }
    }
}
