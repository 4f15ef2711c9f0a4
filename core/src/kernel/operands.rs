//! What the inner loops work on: views of matrices, tiles and stored rows, and what to read ahead.

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

/// Lanes that the widths of tiles and rows of Xᵀ and Zᵀ are rounded up to, the most of any kernel.
pub const LANES: usize = 16;

/// Columns of a whole tile. One of decoded rows and its piece of the block should stay in the first-level cache,
/// and a call should have enough to do: 256 measured better than 128, 192 and 512. A whole number of blocks of
/// every format, so that tiles can be cut out of rows.
pub const TILE: usize = 256;
const _: () = assert!(TILE.is_multiple_of(Dtype::MAX_BLOCK_LEN) && TILE.is_multiple_of(LANES));

/// A tile of the difference: `rows` rows of `width` contiguous elements, a multiple of [`LANES`].
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// A [`Tile`] to be written.
#[derive(Debug)]
pub struct TileMut<'a> {
    /// The elements.
    pub data: &'a mut [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

impl TileMut<'_> {
    /// The tile, to be read.
    pub fn view(&self) -> Tile<'_> {
        Tile { data: self.data, row: self.row, rows: self.rows, width: self.width }
    }
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
    /// The first `len` elements of row `i`; fewer where the bytes end before.
    pub(super) fn row(&self, i: usize, len: usize) -> Rows<'a> {
        let bytes = self.bytes.get(i.saturating_mul(self.row)..).unwrap_or_default();
        let len = self.dtype.row_bytes(len).unwrap_or(0).min(bytes.len());
        Rows::new(self.dtype, &bytes[..len])
    }

    /// Whether `rows` rows of `width` elements lie inside the bytes.
    pub(super) fn holds(&self, rows: usize, width: usize) -> bool {
        let before = rows.saturating_sub(1).checked_mul(self.row);
        let end = before.zip(self.dtype.row_bytes(width)).and_then(|(before, last)| before.checked_add(last));
        rows == 0 || end.is_some_and(|end| end <= self.bytes.len())
    }
}

impl Tile<'_> {
    /// Whether the shape lies inside the elements and is one that the kernels take.
    pub(super) fn is_sound(&self) -> bool {
        let strided = Strided { data: self.data, row: self.row, col: 1 };
        self.width.is_multiple_of(LANES) && strided.holds(self.rows, self.width)
    }
}

/// Bytes that will be read soon, asked into the second-level cache piece by piece while something else is
/// multiplied.
#[derive(Debug, Default)]
pub struct Ahead<'a> {
    /// What is left of each side.
    sides: [&'a [u8]; 2],
    /// Bytes per step, first those of the first side.
    pieces: [usize; 2],
}

impl<'a> Ahead<'a> {
    /// Both sides in `steps` steps, half of them for each side.
    pub fn new(sides: [&'a [u8]; 2], steps: usize) -> Self {
        let half = [steps.div_ceil(2).max(1), (steps / 2).max(1)];
        Self { sides, pieces: [0, 1].map(|i| sides[i].len().div_ceil(half[i])) }
    }

    /// The piece of the next step.
    pub(super) fn step(&mut self) -> &'a [u8] {
        let side = usize::from(self.sides[0].is_empty());
        let (now, later) = self.sides[side].split_at(self.pieces[side].min(self.sides[side].len()));
        self.sides[side] = later;
        now
    }
}
