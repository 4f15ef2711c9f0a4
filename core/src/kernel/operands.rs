//! Operands of the inner loops: views of matrices, strips and stored rows, and what to prefetch.

use core::ops::Range;

use crate::{Dtype, Rows};

/// A matrix operand A with A[i, k] = `data[i * row + k * col]`.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one column to the next.
    pub col: usize,
}

impl<'a> Strided<'a> {
    /// A row-major matrix with `cols` columns.
    pub const fn row_major(data: &'a [f32], cols: usize) -> Self {
        Self { data, row: cols, col: 1 }
    }

    /// The transpose, over the same elements.
    #[must_use]
    pub const fn transposed(self) -> Self {
        Self { data: self.data, row: self.col, col: self.row }
    }

    /// Whether a `rows` × `depth` matrix lies inside the elements.
    pub(super) fn holds(&self, rows: usize, depth: usize) -> bool {
        if rows == 0 || depth == 0 {
            return true;
        }
        let last = (rows - 1).checked_mul(self.row).zip((depth - 1).checked_mul(self.col));
        last.and_then(|(i, k)| i.checked_add(k)).is_some_and(|last| last < self.data.len())
    }
}

/// Elements of a panel that one step of a product takes, the most lanes of any vector.
pub const LANES: usize = 16;

/// Columns whose products are added up before they join the sum: long sums in f32 are made of short ones. Whole blocks of
/// every format, so that rows can be cut there.
pub const SUM_COLUMNS: usize = 256;
const _: () = assert!(SUM_COLUMNS.is_multiple_of(Dtype::MAX_BLOCK_LEN));

/// Rows of the difference that are decoded together.
pub const STRIP_ROWS: usize = 16;

/// Elements of a segment: [`LANES`] columns of a strip.
pub const SEGMENT: usize = STRIP_ROWS * LANES;

/// Columns that are decoded at a time.
pub const DECODE_COLUMNS: usize = 32;

/// Columns of a window: those of one row are decoded, then those of the next, before the product needs them. Rows often lie a
/// power of two apart and compete for the same places in the cache: a line that two windows touch is read twice.
pub const WINDOW: usize = 2 * DECODE_COLUMNS;
const _: () = assert!(SUM_COLUMNS.is_multiple_of(WINDOW) && DECODE_COLUMNS.is_multiple_of(LANES));

/// Where column `column` of a row of a strip is, from the row's first element.
#[expect(clippy::inline_always, reason = "compiled again with the features of each caller")]
#[inline(always)]
pub const fn offset(column: usize) -> usize {
    column / LANES * SEGMENT + column % LANES
}

/// Columns of a strip that a step of a product with a panel of width `W` takes.
pub const fn step_columns<const W: usize>() -> usize {
    LANES / W
}

/// A strip of the difference: segments of [`LANES`] columns, in each a row after the other. There is room for [`STRIP_ROWS`] rows;
/// each row is filled with zeros to the end of its last segment.
#[derive(Debug, Clone, Copy)]
pub struct Strip<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Rows that count.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

/// A strip to be written.
#[derive(Debug)]
pub struct StripMut<'a> {
    /// The elements.
    pub data: &'a mut [f32],
    /// Rows that count.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Strip<'_> {
    /// Whether a product takes it with a packed panel of width `W` and lanes of its rows.
    pub(super) fn fits<const W: usize>(&self, panel: &[f32], lanes: &[f32]) -> bool {
        matches!(W, 8 | 16)
            && self.is_sound()
            && self.cols.div_ceil(LANES / W) <= panel.len() / LANES
            && self.rows <= lanes.len() / LANES
    }

    /// Whether there is room for the shape.
    pub(super) fn is_sound(&self) -> bool {
        self.rows <= STRIP_ROWS && self.cols.div_ceil(LANES) <= self.data.len() / SEGMENT
    }

    /// Row `row`, [`LANES`] columns at a time: those of a segment.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        self.data
            .chunks_exact(SEGMENT)
            .take(self.cols.div_ceil(LANES))
            .map(move |segment| &segment[row * LANES..][..LANES])
    }
}

impl StripMut<'_> {
    /// The strip, to be read.
    pub fn view(&self) -> Strip<'_> {
        Strip { data: self.data, rows: self.rows, cols: self.cols }
    }

    /// Writes a row's columns from `first`, at a whole segment, on, and zeros as far as the last segment goes.
    pub(crate) fn write(&mut self, row: usize, first: usize, values: &[f32]) {
        let mut segments = self.data[first / LANES * SEGMENT..].chunks_exact_mut(SEGMENT);
        let (whole, rest) = values.as_chunks::<LANES>();
        for (values, segment) in whole.iter().zip(&mut segments) {
            segment[row * LANES..][..LANES].copy_from_slice(values);
        }
        if let Some(segment) = segments.next().filter(|_| !rest.is_empty()) {
            let (out, padding) = segment[row * LANES..][..LANES].split_at_mut(rest.len());
            out.copy_from_slice(rest);
            padding.fill(0.0);
        }
    }
}

/// Rows of `width` contiguous elements, a multiple of [`LANES`].
#[derive(Debug, Clone, Copy)]
pub struct RowMajor<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Columns of stored rows: the bytes from the first of them on, `row` bytes from one row to the next.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// Storage format.
    pub dtype: Dtype,
    /// The bytes, as far as the last element of the last row at least.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub row: usize,
}

impl<'a> Lines<'a> {
    /// All rows from element `first` on, at a whole block.
    pub(crate) fn skip(self, first: usize) -> Self {
        let start = self.dtype.row_bytes(first).unwrap_or(usize::MAX);
        Self { bytes: self.bytes.get(start..).unwrap_or_default(), ..self }
    }

    /// Elements `first`…, `len` of them, of row `i`, both at whole blocks; fewer where the bytes end before.
    pub(crate) fn piece(&self, i: usize, first: usize, len: usize) -> Rows<'a> {
        Rows::new(self.dtype, &self.bytes[self.range(i, first, len)])
    }

    /// Where the bytes of a [`piece`](Self::piece) are.
    fn range(&self, i: usize, first: usize, len: usize) -> Range<usize> {
        let start = i.saturating_mul(self.row).saturating_add(self.dtype.row_bytes(first).unwrap_or(0));
        let end = start.saturating_add(self.dtype.row_bytes(len).unwrap_or(0));
        start.min(self.bytes.len())..end.min(self.bytes.len())
    }

    /// Whether `rows` rows of `width` elements lie inside the bytes.
    pub(super) fn holds(&self, rows: usize, width: usize) -> bool {
        let before = rows.saturating_sub(1).checked_mul(self.row);
        let end = before.zip(self.dtype.row_bytes(width)).and_then(|(before, last)| before.checked_add(last));
        rows == 0 || end.is_some_and(|end| end <= self.bytes.len())
    }
}

/// [`Lines`] that are written to.
#[derive(Debug)]
pub struct LinesMut<'a> {
    /// Storage format.
    pub dtype: Dtype,
    /// The bytes, as far as the last element of the last row at least.
    pub bytes: &'a mut [u8],
    /// Bytes from one row to the next.
    pub row: usize,
}

impl LinesMut<'_> {
    /// As [`Lines::skip`].
    pub(crate) fn skip(&mut self, first: usize) -> LinesMut<'_> {
        let start = self.dtype.row_bytes(first).unwrap_or(usize::MAX);
        LinesMut { bytes: self.bytes.get_mut(start..).unwrap_or_default(), ..*self }
    }

    /// As [`Lines::piece`].
    pub(crate) fn piece(&mut self, i: usize, first: usize, len: usize) -> &mut [u8] {
        let range = self.view().range(i, first, len);
        &mut self.bytes[range]
    }

    /// To be read.
    pub(crate) fn view(&self) -> Lines<'_> {
        Lines { dtype: self.dtype, bytes: self.bytes, row: self.row }
    }
}

impl RowMajor<'_> {
    /// Whether it can be merged into `rows` rows, its rows multiplied with those of `y`.
    pub(super) fn fits<const W: usize>(&self, y: &[f32], rows: usize) -> bool {
        matches!(W, 8 | 16) && self.is_sound() && holds(y, self.rows, W) && rows <= W
    }

    /// Whether the shape lies inside the elements and is one that the kernels take.
    pub(super) fn is_sound(&self) -> bool {
        let strided = Strided { data: self.data, row: self.row, col: 1 };
        self.width.is_multiple_of(LANES) && strided.holds(self.rows, self.width)
    }
}

/// Columns of a piece: those of a row that are decoded at once into a local array. Whole blocks of every format.
pub const PIECE: usize = Dtype::MAX_BLOCK_LEN;

/// Whether `values` holds `count` rows of `width`.
pub fn holds(values: &[f32], count: usize, width: usize) -> bool {
    count.checked_mul(width).is_some_and(|need| need <= values.len())
}

/// Bytes that will be read soon, asked into the second-level cache step by step while something else is
/// multiplied.
#[derive(Debug, Default)]
pub struct Prefetch<'a> {
    /// What is left of each side.
    sides: [&'a [u8]; 2],
    /// Bytes per step, first those of the first side.
    per_step: [usize; 2],
}

impl<'a> Prefetch<'a> {
    /// Both sides in `steps` steps, half of them for each side.
    pub fn new(sides: [&'a [u8]; 2], steps: usize) -> Self {
        let half = [steps.div_ceil(2).max(1), (steps / 2).max(1)];
        Self { sides, per_step: [0, 1].map(|i| sides[i].len().div_ceil(half[i])) }
    }

    /// The bytes of the next step.
    pub(super) fn step(&mut self) -> &'a [u8] {
        let side = usize::from(self.sides[0].is_empty());
        let (now, later) = self.sides[side].split_at(self.per_step[side].min(self.sides[side].len()));
        self.sides[side] = later;
        now
    }
}
