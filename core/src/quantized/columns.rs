//! Weights that are stored by columns, decoded to rows.
//!
//! GPTQ and AWQ store [in, out]: what lies side by side belongs to one column of the weight. Some columns are decoded for 32
//! rows at once and then written row by row.

use super::{Component, Fault};
use crate::{Error, Shape};

/// Rows that are decoded at once: a cache line of scales in f16, two of words.
pub const ROWS: usize = 32;
/// Columns that are decoded at once: a cache line of a row that is written.
const COLS: usize = 16;

/// A matrix that is stored by columns, with scales and zero points for groups of columns.
pub trait ByColumns {
    /// Scales and zero points of a group, for `scales.len()` rows from `first` on, at most [`ROWS`].
    fn group(&self, group: usize, first: usize, scales: &mut [f32], zeros: &mut [f32]);
    /// Codes of a column, for `out.len()` rows from `first` on, at most [`ROWS`].
    fn column(&self, col: usize, first: usize, out: &mut [f32]);
}

/// The group of each column, I32.
#[derive(Debug, Clone, Copy)]
pub struct GroupIndex<'a>(pub &'a [u8]);

impl GroupIndex<'_> {
    /// Whether it holds −1.
    pub fn is_unused(&self) -> bool {
        self.0.as_chunks().0.contains(&[255; 4])
    }

    /// Refuses groups that do not exist.
    pub fn check(&self, groups: usize) -> Result<(), Error> {
        let known = |&entry| usize::try_from(i32::from_le_bytes(entry)).is_ok_and(|group| group < groups);
        match self.0.as_chunks().0.iter().position(|entry| !known(entry)) {
            Some(at) => Component::GroupIndex.has(Fault::Index { at }),
            None => Ok(()),
        }
    }

    /// The group of column `col`.
    #[inline]
    pub fn of(&self, col: usize) -> usize {
        super::codes::word(self.0, col) as usize
    }
}

/// How columns are grouped.
#[derive(Debug, Clone, Copy)]
pub enum Groups<'a> {
    /// So many consecutive ones.
    Size(usize),
    /// As an index says.
    Index(GroupIndex<'a>),
}

impl Groups<'_> {
    #[inline]
    fn of(&self, col: usize) -> usize {
        match self {
            Self::Size(size) => col / size,
            Self::Index(index) => index.of(col),
        }
    }
}

/// Decodes (code − zero point) × scale for the rows of `out`, which begin with row `first`.
#[inline]
pub fn decode(stored: &impl ByColumns, groups: Groups<'_>, shape: Shape, first: usize, out: &mut [f32]) {
    let (mut scales, mut zeros, mut columns) = ([0.0; ROWS], [0.0; ROWS], [[0.0; ROWS]; COLS]);
    for (i, out) in out.chunks_mut(ROWS.saturating_mul(shape.cols)).enumerate() {
        let (first, rows) = (first + i * ROWS, out.len() / shape.cols);
        let (scales, zeros) = (&mut scales[..rows], &mut zeros[..rows]);
        let mut group = None;
        for start in (0..shape.cols).step_by(COLS) {
            let cols = COLS.min(shape.cols - start);
            for (col, column) in (start..).zip(&mut columns[..cols]) {
                let own = groups.of(col);
                if group != Some(own) {
                    stored.group(own, first, scales, zeros);
                    group = Some(own);
                }
                let column = &mut column[..rows];
                stored.column(col, first, column);
                for ((value, scale), zero) in column.iter_mut().zip(&*scales).zip(&*zeros) {
                    *value = (*value - zero) * scale;
                }
            }
            for (row, out) in out.chunks_mut(shape.cols).enumerate() {
                for (out, column) in out[start..start + cols].iter_mut().zip(&columns) {
                    *out = column[row];
                }
            }
        }
    }
}

/// Writes the fields of `words` without the first `skip`, at most [`ROWS`]: `PER_WORD` in each word, which begin at `shifts`
/// once `more` was added to it. `WORDS` is `ROWS / PER_WORD + 1`, since rows may begin within a word.
#[inline]
pub fn fields<const PER_WORD: usize, const WORDS: usize>(
    words: &[[u8; 4]],
    shifts: &[u32; PER_WORD],
    more: u32,
    skip: usize,
    out: &mut [f32],
) {
    const { assert!(WORDS == ROWS / PER_WORD + 1) };
    let mask = (1 << (32 / PER_WORD)) - 1;
    let mut values = [[0.0; PER_WORD]; WORDS];
    for (values, &word) in values.iter_mut().zip(words) {
        let word = u32::from_le_bytes(word).wrapping_add(more);
        for i in 0..PER_WORD {
            values[i] = (word >> shifts[i] & mask).cast_signed() as f32;
        }
    }
    let values = values.as_flattened().get(skip..).unwrap_or_default();
    out.iter_mut().zip(values).for_each(|(out, &value)| *out = value);
}
