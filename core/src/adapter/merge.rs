//! W += Σ wᵢ·sᵢ·Bᵢ·Aᵢ, row by row, in the weight's own storage format.
//!
//! Rows are decoded to f32, the sum of all adapters is made in f32 and added once, and the row is encoded again,
//! rounded to nearest as ggml and PyTorch do. Ranges of rows are independent of each other: any threads may take any of
//! them, with the same bits.
//!
//! Unmerging is merging with negated weights. The sum that is subtracted has the very bits of the one that was added, so
//! only the two roundings to the storage format remain: with u its unit roundoff (2⁻²⁴ for f32, 2⁻¹¹ for f16, 2⁻⁸ for
//! bf16) and d what the adapters add, |w″ − w| ≤ (u + 2⁻²³)·(|w| + 2·|w + d|) + the format's smallest number. Block
//! formats choose new scales and have no such bound. Where the very bits must come back, whatever the format, keep a
//! stash: what merging writes there, [`toggle`] takes back, and a second time puts in again.

use crate::{
    Adapter, Dtype, Error, Kernel, Rows, Scratch, Shape,
    kernel::{LANES, Lines, LinesMut, PIECE, Prefetch, RowMajor},
    linalg::scratch::Buffer,
};

/// Rows that are computed together: the widest panel of a product.
const MERGE_ROWS: usize = 16;

/// Adapters that are merged into one weight, with their weights. Checked when made; used by any number of threads.
///
/// ```
/// use phlora_core::{Adapter, Dtype, Kernel, Merge, Rows, Shape, toggle};
///
/// let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
/// let (a, b) = (bytes(&[1.0, 2.0]), bytes(&[3.0, -1.0]));
/// let shape = Shape { rows: 2, cols: 2 };
/// let adapter = Adapter::new(shape, 1, Rows::new(Dtype::F32, &a), Rows::new(Dtype::F32, &b), 1.0)?;
/// let terms = [(adapter, 0.5)];
/// let merge = Merge::new(Kernel::detect(), &terms)?;
/// let (mut prepared, mut scratch) = (vec![0.0; merge.prepared_len()], vec![0.0; merge.scratch_len()]);
/// merge.prepare(&mut prepared)?;
/// let (mut weights, mut stash) = (bytes(&[0.0; 4]), [0; 16]);
/// merge.rows(&prepared, 0, Dtype::F32, &mut weights, Some(&mut stash), &mut scratch)?;
/// assert_eq!(weights, bytes(&[1.5, 3.0, -0.5, -1.0]));
/// toggle(&mut weights, &stash);
/// assert_eq!(weights, bytes(&[0.0; 4]));
/// # Ok::<(), phlora_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    kernel: Kernel,
    shape: Shape,
    ranks: usize,
    terms: &'a [(Adapter<'a>, f32)],
}

impl<'a> Merge<'a> {
    /// Checks shapes and weights.
    ///
    /// # Errors
    /// [`Error::Empty`] without a term; [`Error::AdapterShape`] with the first term that has another shape than the
    /// first; [`Error::NonFiniteScale`] when a weight times a scale is no number; [`Error::TooLarge`].
    pub fn new(kernel: Kernel, terms: &'a [(Adapter<'a>, f32)]) -> Result<Self, Error> {
        let shape = terms.first().ok_or(Error::Empty)?.0.shape();
        let mut ranks = 0_usize;
        for (index, (adapter, weight)) in terms.iter().enumerate() {
            if adapter.shape() != shape {
                return Err(Error::AdapterShape { index });
            }
            adapter.scaled(*weight)?;
            ranks = ranks.checked_add(adapter.rank()).ok_or(Error::TooLarge)?;
        }
        merge_scratch(shape, ranks).0.count()?;
        merge_scratch(shape, ranks).1.count()?;
        Ok(Self { kernel, shape, ranks, terms })
    }

    /// `f32` elements of the prepared factors, common to all threads.
    pub fn prepared_len(&self) -> usize {
        merge_scratch(self.shape, self.ranks).0.count().unwrap_or(usize::MAX)
    }

    /// `f32` elements of scratch that each call needs for itself.
    pub fn scratch_len(&self) -> usize {
        merge_scratch(self.shape, self.ranks).1.count().unwrap_or(usize::MAX)
    }

    /// Reads every factor once, and decodes all A for the calls that follow: piece after piece of the columns, each with
    /// a row per rank, since rows a power of two apart would push each other out of the cache. `prepared` has
    /// [`Merge::prepared_len`] elements.
    ///
    /// # Errors
    /// [`Error::OutputLength`]; [`Error::NonFiniteFactor`] with the index of the term. Nothing is written.
    pub fn prepare(&self, prepared: &mut [f32]) -> Result<(), Error> {
        let expected = self.prepared_len();
        if prepared.len() != expected {
            return Err(Error::OutputLength { expected });
        }
        for (index, (adapter, _)) in self.terms.iter().enumerate() {
            adapter.check_finite(self.kernel).map_err(|_| Error::NonFiniteFactor { index })?;
        }
        prepared.fill(0.0);
        let mut piece = [0.0; PIECE];
        let (mut first, width) = (0, self.shape.cols.next_multiple_of(LANES));
        for (adapter, _) in self.terms {
            let a = adapter.a();
            for k in 0..adapter.rank() {
                for from in (0..a.cols).step_by(PIECE) {
                    let piece = &mut piece[..PIECE.min(a.cols - from)];
                    self.kernel.decode(a.piece(k, from, piece.len()), piece);
                    let whole = PIECE.min(width - from);
                    let row = from * self.ranks + (first + k) * whole;
                    prepared[row..][..piece.len()].copy_from_slice(piece);
                }
            }
            first += adapter.rank();
        }
        Ok(())
    }

    /// Merges rows `first`… of the weight in place: as many as `weights`, in `dtype`, holds.
    ///
    /// * `prepared`: as [`Merge::prepare`] has left it.
    /// * `stash`: `None`, or as many bytes as `weights`; written: what [`toggle`] needs to get the old bytes back.
    /// * `scratch`: at least [`Merge::scratch_len`] elements.
    ///
    /// What leaves the range of the format becomes infinite, as everywhere in [`encode`](crate::encode).
    ///
    /// # Errors
    /// [`Error::NotWholeRows`], [`Error::TooManyRows`]; [`Error::NotEncoded`] for a format that is only read;
    /// [`Error::OutputLength`] for `prepared` or `stash`; [`Error::ScratchTooSmall`]. Nothing is written.
    pub fn rows(
        &self,
        prepared: &[f32],
        first: usize,
        dtype: Dtype,
        weights: &mut [u8],
        mut stash: Option<&mut [u8]>,
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let (count, row_bytes) = self.check(prepared, first, Rows::new(dtype, weights), dtype, scratch)?;
        if let Some(stash) = stash.as_deref()
            && stash.len() != weights.len()
        {
            return Err(Error::OutputLength { expected: weights.len() });
        }
        if let Some(stash) = stash.as_deref_mut() {
            stash.copy_from_slice(weights);
        }
        let mut rest = &mut *weights;
        for done in (0..count).step_by(MERGE_ROWS) {
            let bytes;
            (bytes, rest) = rest.split_at_mut(MERGE_ROWS.min(count - done) * row_bytes);
            let later = &rest[..rest.len().min(MERGE_ROWS * row_bytes)];
            let weights = LinesMut { dtype, bytes, row: row_bytes };
            self.rows_together(prepared, first + done, None, weights, later, scratch)?;
        }
        if let Some(stash) = stash {
            toggle(stash, weights);
        }
        Ok(())
    }

    /// Merges rows `first`… of the weight into another buffer: as many as `from` holds, in whatever format, written to
    /// `to` in `dtype`. Arguments and errors as for [`Merge::rows`]; [`Error::OutputLength`], in bytes, also for `to`.
    ///
    /// # Errors
    /// See above; nothing is written.
    pub fn rows_to(
        &self,
        prepared: &[f32],
        first: usize,
        from: Rows<'_>,
        dtype: Dtype,
        to: &mut [u8],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let (count, from_bytes) = self.check(prepared, first, from, dtype, scratch)?;
        let row_bytes = dtype.row_bytes(self.shape.cols).ok_or(Error::NotWholeRows)?;
        let expected = count.checked_mul(row_bytes).ok_or(Error::TooLarge)?;
        if to.len() != expected {
            return Err(Error::OutputLength { expected });
        }
        let from_together = MERGE_ROWS * from_bytes;
        let froms = from.bytes.chunks(from_together.max(1));
        for (i, (bytes, source)) in to.chunks_mut((MERGE_ROWS * row_bytes).max(1)).zip(froms).enumerate() {
            let later = from.bytes.get((i + 1) * from_together..).unwrap_or_default();
            let later = &later[..later.len().min(from_together)];
            let source = Lines { dtype: from.dtype, bytes: source, row: from_bytes };
            let weights = LinesMut { dtype, bytes, row: row_bytes };
            self.rows_together(prepared, first + i * MERGE_ROWS, Some(source), weights, later, scratch)?;
        }
        Ok(())
    }

    /// Checks the arguments of a call; returns its rows and the bytes of one.
    fn check(
        &self,
        prepared: &[f32],
        first: usize,
        from: Rows<'_>,
        to: Dtype,
        scratch: &[f32],
    ) -> Result<(usize, usize), Error> {
        if !to.is_encoded() {
            return Err(Error::NotEncoded);
        }
        let row_bytes = from.dtype.row_bytes(self.shape.cols).ok_or(Error::NotWholeRows)?;
        let count = from.bytes.len().checked_div(row_bytes).unwrap_or(0);
        if from.bytes.len() != count * row_bytes {
            return Err(Error::NotWholeRows);
        }
        if first.checked_add(count).is_none_or(|end| end > self.shape.rows) {
            return Err(Error::TooManyRows);
        }
        let expected = self.prepared_len();
        if prepared.len() != expected {
            return Err(Error::OutputLength { expected });
        }
        let needed = self.scratch_len();
        if scratch.len() < needed { Err(Error::ScratchTooSmall { needed }) } else { Ok((count, row_bytes)) }
    }

    /// Merges rows `first`… of the weight, as many as `weights` holds: these, or what `source` has, which goes there. Meanwhile
    /// asks for the bytes of `later`.
    fn rows_together(
        &self,
        prepared: &[f32],
        first: usize,
        source: Option<Lines<'_>>,
        mut weights: LinesMut<'_>,
        later: &[u8],
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        let (kernel, cols, ranks) = (self.kernel, self.shape.cols, self.ranks);
        let rows = weights.bytes.len().checked_div(weights.row).unwrap_or(0);
        let is_direct =
            kernel.in_registers(weights.dtype) && source.is_none_or(|source| source.dtype == weights.dtype);
        let mut scratch = Buffer(scratch);
        // Bᵀ of these rows, a row per rank, its scale in it.
        let b = scratch.take(MERGE_ROWS * ranks);
        let values = scratch.take(MERGE_ROWS * PIECE);
        let mut piece = [0.0; PIECE];
        let mut column = 0;
        b.fill(0.0);
        for (adapter, weight) in self.terms {
            let (factor, strength) = (adapter.b(), adapter.scale() * weight);
            for i in 0..rows {
                for from in (0..factor.cols).step_by(PIECE) {
                    let piece = &mut piece[..PIECE.min(factor.cols - from)];
                    kernel.decode(factor.piece(first + i, from, piece.len()), piece);
                    let b = b[(column + from) * MERGE_ROWS + i..].iter_mut().step_by(MERGE_ROWS);
                    b.zip(piece).for_each(|(b, value)| *b = *value * strength);
                }
            }
            column += factor.cols;
        }
        let width = cols.next_multiple_of(LANES);
        let mut ahead = Prefetch::new([later, &[]], 2 * cols.div_ceil(PIECE));
        for from in (0..cols).step_by(PIECE) {
            let (wide, whole) = (PIECE.min(cols - from), PIECE.min(width - from));
            let data = &prepared[from * ranks..][..whole * ranks];
            let a = RowMajor { data, row: whole, rows: ranks, width: whole };
            if is_direct && wide == whole {
                let source = source.map(|source| source.skip(from));
                kernel.merge_rows::<MERGE_ROWS>(a, b, source, &mut weights.skip(from), rows, &mut ahead)?;
                continue;
            }
            // Decoded, and whole vectors: a row ends with what is not used.
            for (row, values) in values.chunks_exact_mut(whole).take(rows).enumerate() {
                let weights = source.unwrap_or(weights.view());
                kernel.decode(weights.piece(row, from, wide), &mut values[..wide]);
            }
            kernel.merge_values::<MERGE_ROWS>(a, b, values, rows, &mut ahead)?;
            for (row, values) in values.chunks_exact(whole).take(rows).enumerate() {
                kernel.encode(&values[..wide], weights.dtype, weights.piece(row, from, wide));
            }
        }
        Ok(())
    }
}

/// `f32` elements that a merge of adapters of `shape`, whose ranks add up to `ranks`, needs: of prepared factors, and
/// of scratch per call.
pub const fn merge_scratch(shape: Shape, ranks: usize) -> (Scratch, Scratch) {
    let prepared = match shape.cols.checked_next_multiple_of(LANES) {
        Some(cols) => Scratch::matrix(cols, ranks),
        None => Scratch::OVERFLOW,
    };
    (prepared, Scratch::matrix(MERGE_ROWS, ranks).and(Scratch::matrix(MERGE_ROWS, PIECE)))
}

/// Takes a merge back, or puts it in again, with the stash that it has left: `weights` ^= `stash`, over as many bytes as
/// both have.
pub fn toggle(weights: &mut [u8], stash: &[u8]) {
    weights.iter_mut().zip(stash).for_each(|(weight, stash)| *weight ^= stash);
}
