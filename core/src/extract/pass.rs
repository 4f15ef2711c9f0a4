//! One read of the rows: decode, subtract, measure, and multiply by a thin block from both sides.

use core::ops::Range;

use super::plan::MAX_PARTS;
use crate::{
    Delta, Error, Kernel, Rows,
    kernel::{Ahead, LANES, Lines, TILE, Tile, TileMut},
    random,
};

/// Rows that are decoded together. More of them spread the traffic of X and Z over more work; fewer keep the
/// strip, the next one and both panels in the second-level cache: 256 KiB of them measured best.
pub const fn strip_rows(cols: usize) -> usize {
    match cols {
        0..=64 => 8,
        65..=2048 => 32,
        _ => 16,
    }
}

/// Columns of a decoded row and of a packed panel: whole [`LANES`].
pub const fn padded(cols: usize) -> Option<usize> {
    cols.checked_next_multiple_of(LANES)
}

/// `f32` elements of a packed panel of `cols` × `width`, for a shape that was planned.
pub fn packed_len(cols: usize, width: usize) -> usize {
    padded(cols).unwrap_or(0) * width
}

/// `f32` elements of a strip for a panel of `width`: the decoded tiles, and the lanes of the sums.
pub const fn strip_len(cols: usize, width: usize) -> Option<usize> {
    let rows = strip_rows(cols);
    match padded(cols) {
        Some(cols) => match cols.checked_mul(rows) {
            Some(tiles) => tiles.checked_add(rows * width * LANES),
            None => None,
        },
        None => None,
    }
}

/// First column and width of each tile of `cols` columns.
fn tiles(cols: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> + Clone + use<> {
    (0..cols.div_ceil(TILE)).map(move |tile| (tile * TILE, TILE.min(cols - tile * TILE)))
}

/// Packs a panel of cols × `W` for the tiles: per tile its transpose, each row with zeros up to whole
/// [`LANES`].
pub fn pack<const W: usize>(panel: &[f32], packed: &mut [f32]) {
    for (first, width) in tiles(panel.len() / W) {
        let whole = width.next_multiple_of(LANES);
        let panel = panel[first * W..][..width * W].as_chunks::<W>().0;
        for (w, row) in packed[first * W..][..whole * W].chunks_exact_mut(whole).enumerate() {
            row[width..].fill(0.0);
            row.iter_mut().zip(panel).for_each(|(x, values)| *x = values[w]);
        }
    }
}

/// Undoes [`pack`].
pub fn unpack<const W: usize>(packed: &[f32], panel: &mut [f32]) {
    for (first, width) in tiles(panel.len() / W) {
        let whole = width.next_multiple_of(LANES);
        let panel = panel[first * W..][..width * W].as_chunks_mut::<W>().0;
        for (w, row) in packed[first * W..][..whole * W].chunks_exact(whole).enumerate() {
            row.iter().zip(&mut *panel).for_each(|(&x, values)| values[w] = x);
        }
    }
}

/// The power of two that brings `largest`, which is above 0, near to 1; for a subnormal one as near as the
/// range of f32 allows, to 2⁻²³ at least.
pub fn unit_scale(largest: f32) -> f32 {
    libm::ldexpf(1.0, (-libm::ilogbf(largest)).clamp(-126, 126))
}

/// How far a part has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Rows pushed in this pass.
    pub done: usize,
    /// Measurements of its rows.
    pub delta: Delta,
}

/// One row range of a pass; see [`Extractor::parts`](crate::Extractor::parts).
#[derive(Debug)]
pub struct Part<'p>(Kind<'p>);

#[derive(Debug)]
enum Kind<'p> {
    Block8(BlockPart<'p, 8>),
    #[cfg(feature = "wide")]
    Block16(BlockPart<'p, 16>),
    Whole(&'p mut (dyn Whole + 'p)),
}

impl Part<'_> {
    /// Rows of the matrix that belong to this part.
    pub fn rows(&self) -> Range<usize> {
        match &self.0 {
            Kind::Block8(part) => part.rows.clone(),
            #[cfg(feature = "wide")]
            Kind::Block16(part) => part.rows.clone(),
            Kind::Whole(state) => 0..state.row_count(),
        }
    }

    /// The next rows of this part, both sides.
    ///
    /// # Errors
    /// As [`Extractor::push`](crate::Extractor::push).
    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Block8(part) => part.push(base, tuned),
            #[cfg(feature = "wide")]
            Kind::Block16(part) => part.push(base, tuned),
            Kind::Whole(state) => state.push_rows(base, tuned),
        }
    }
}

impl<'p> From<BlockPart<'p, 8>> for Part<'p> {
    fn from(part: BlockPart<'p, 8>) -> Self {
        Self(Kind::Block8(part))
    }
}

#[cfg(feature = "wide")]
impl<'p> From<BlockPart<'p, 16>> for Part<'p> {
    fn from(part: BlockPart<'p, 16>) -> Self {
        Self(Kind::Block16(part))
    }
}

/// A mode that takes its rows in one sequence.
pub trait Whole: core::fmt::Debug + Send {
    /// Rows of the matrix.
    fn row_count(&self) -> usize;
    /// The next rows, both sides.
    fn push_rows(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error>;
}

impl<'p> From<&'p mut (dyn Whole + 'p)> for Part<'p> {
    fn from(state: &'p mut (dyn Whole + 'p)) -> Self {
        Self(Kind::Whole(state))
    }
}

/// How many rows of `cols` entries both sides of a block hold, at most `left`.
pub fn count_rows(base: Rows<'_>, tuned: Rows<'_>, cols: usize, left: usize) -> Result<usize, Error> {
    let count = |rows: Rows<'_>| match rows.dtype.row_bytes(cols) {
        None if !cols.is_multiple_of(rows.dtype.block_len()) => {
            Err(Error::NotWholeBlocks { block_len: rows.dtype.block_len() })
        }
        Some(0) if rows.bytes.is_empty() => Ok(0),
        Some(bytes) if bytes > 0 && rows.bytes.len().is_multiple_of(bytes) => Ok(rows.bytes.len() / bytes),
        _ => Err(Error::BlockNotWholeRows),
    };
    let rows = count(base)?;
    if rows != count(tuned)? {
        return Err(Error::BlockNotWholeRows);
    }
    if rows > left { Err(Error::TooManyRows) } else { Ok(rows) }
}

/// Entries `start`… of a run of rows, `len` of them: both at whole rows or tiles, so at whole blocks.
fn entries(rows: Rows<'_>, start: usize, len: usize) -> Rows<'_> {
    let at = |entry: usize| rows.dtype.row_bytes(entry).unwrap_or(usize::MAX);
    Rows { bytes: rows.bytes.get(at(start)..at(start + len)).unwrap_or_default(), ..rows }
}

/// Rows `first`… of a run of rows of `cols` entries, from column `column`, at a whole tile, on.
fn lines(rows: Rows<'_>, first: usize, column: usize, cols: usize) -> Lines<'_> {
    let at = |entry: usize| rows.dtype.row_bytes(entry).unwrap_or(usize::MAX);
    let bytes = rows.bytes.get(at(first * cols + column)..).unwrap_or_default();
    Lines { dtype: rows.dtype, bytes, row: at(cols) }
}

/// Decodes row `row` of a block as a whole into `out` (`cols` elements), weighed by `channels`.
pub fn whole_row(
    kernel: Kernel,
    base: Rows<'_>,
    tuned: Rows<'_>,
    row: usize,
    channels: Option<&[f32]>,
    out: &mut [f32],
) {
    weighed(kernel, (base, tuned), row * out.len(), channels, out);
}

/// Decodes entries `start`… of a run of rows into `out`, weighed by the `channels` of their columns.
fn weighed(
    kernel: Kernel,
    (base, tuned): (Rows<'_>, Rows<'_>),
    start: usize,
    channels: Option<&[f32]>,
    out: &mut [f32],
) {
    let len = out.len();
    kernel.difference(entries(base, start, len), entries(tuned, start, len), out);
    weigh(out, channels);
}

/// Multiplies each entry of a row by the scale of its column.
fn weigh(row: &mut [f32], channels: Option<&[f32]>) {
    for (entry, scale) in row.iter_mut().zip(channels.unwrap_or_default()) {
        *entry *= scale;
    }
}

/// A run of decoded rows of the difference, in tiles: [tile][row][column].
#[derive(Debug)]
pub struct Strip<'p> {
    kernel: Kernel,
    cols: usize,
    /// Factor on every entry, where it needs one.
    scale: Option<f32>,
    /// Factors on the columns, where the criterion has them.
    channels: Option<&'p [f32]>,
    tiles: &'p mut [f32],
    /// Lanes of the sums of a product, zero between two.
    sums: &'p mut [f32],
}

impl<'p> Strip<'p> {
    /// Takes [`strip_len`] elements, which were zero before the first strip.
    pub fn new(
        kernel: Kernel,
        cols: usize,
        scale: Option<f32>,
        channels: Option<&'p [f32]>,
        buffer: &'p mut [f32],
    ) -> Self {
        let tiles = padded(cols).unwrap_or(0) * strip_rows(cols);
        let (tiles, sums) = buffer.split_at_mut(tiles.min(buffer.len()));
        Self { kernel, cols, scale, channels, tiles, sums }
    }

    /// Decodes rows `first`… of a block, `rows` of them, at most [`strip_rows`].
    pub fn decode(&mut self, (base, tuned): (Rows<'_>, Rows<'_>), first: usize, rows: usize) {
        let height = strip_rows(self.cols);
        for i in 0..rows {
            for (column, width) in tiles(self.cols) {
                let whole = width.next_multiple_of(LANES);
                let out = &mut self.tiles[column * height + i * whole..][..whole];
                let (out, padding) = out.split_at_mut(width);
                padding.fill(0.0);
                let start = (first + i) * self.cols + column;
                let channels = self.channels.map(|channels| &channels[column..]);
                weighed(self.kernel, (base, tuned), start, channels, out);
                if let Some(scale) = self.scale {
                    for x in out {
                        *x *= scale;
                    }
                }
            }
        }
    }

    /// Measures row `row` of the matrix, row `at` of a block, and adds it to one of the columns of Z or subtracts it,
    /// both at random; Z is packed. Row `next` comes after it.
    fn add_up<const W: usize>(
        &mut self,
        (base, tuned): (Rows<'_>, Rows<'_>),
        (at, next): (usize, Option<usize>),
        row: usize,
        delta: &mut Delta,
        z: &mut [f32],
    ) {
        let random = random::bits(row as u64);
        let factor = libm::copysignf(self.scale.unwrap_or(1.0), if random >> 63 == 0 { 1.0 } else { -1.0 });
        let of = |side| next.map_or(&[][..], |next| entries(side, next * self.cols, self.cols).bytes);
        let mut ahead = Ahead::new([base, tuned].map(of), self.cols.div_ceil(TILE));
        for (column, width) in tiles(self.cols) {
            let out = &mut self.tiles[..width];
            let channels = self.channels.map(|channels| &channels[column..]);
            self.kernel.ask(&mut ahead);
            weighed(self.kernel, (base, tuned), at * self.cols + column, channels, out);
            self.kernel.measure(out, row, delta);
            let first = column * W + random as usize % W * width.next_multiple_of(LANES);
            self.kernel.subtract_scaled(&mut z[first..][..width], factor, out);
        }
    }

    /// Y += D·X for the decoded rows D; X is packed.
    pub fn forward<const W: usize>(&mut self, rows: usize, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>) {
        for tile in tiles(self.cols) {
            let view = Self::tile(self.tiles, self.cols, rows, tile);
            self.kernel.forward::<W>(view, &x[tile.0 * W..][..view.width * W], self.sums, ahead);
        }
        self.kernel.fold(&mut self.sums[..y.len() * LANES], y);
    }

    /// [`decode`](Self::decode) and [`forward`](Self::forward), tile by tile where that is faster.
    pub fn decode_forward<const W: usize>(
        &mut self,
        (base, tuned): (Rows<'_>, Rows<'_>),
        first: usize,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Ahead<'_>,
    ) {
        if !Kernel::DECODES_ON_THE_WAY || self.scale.is_some() || self.channels.is_some() {
            self.decode((base, tuned), first, rows);
            return self.forward::<W>(rows, x, y, ahead);
        }
        for (column, columns) in tiles(self.cols) {
            let sides = [base, tuned].map(|side| lines(side, first, column, self.cols));
            let width = columns.next_multiple_of(LANES);
            let data = &mut self.tiles[column * strip_rows(self.cols)..][..rows * width];
            let tile = TileMut { data, row: width, rows, width };
            let x = &x[column * W..][..width * W];
            self.kernel.difference_forward::<W>(sides, columns, tile, x, self.sums, ahead);
        }
        self.kernel.fold(&mut self.sums[..y.len() * LANES], y);
    }

    /// Measures the decoded rows, which are rows `row`… of the matrix.
    fn measure(&self, rows: usize, row: usize, delta: &mut Delta) {
        let height = strip_rows(self.cols);
        for i in 0..rows {
            let pieces = tiles(self.cols).map(|(column, width)| {
                let whole = width.next_multiple_of(LANES);
                &self.tiles[column * height + i * whole..][..whole]
            });
            self.kernel.measure_pieces(pieces, row + i, delta);
        }
    }

    /// Z += Dᵀ·Y for the decoded rows D; Z is packed. The tiles that were used last are still near.
    fn backward<const W: usize>(&self, rows: usize, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>) {
        for tile in tiles(self.cols).rev() {
            let view = Self::tile(self.tiles, self.cols, rows, tile);
            self.kernel.backward::<W>(view, y, &mut z[tile.0 * W..][..view.width * W], ahead);
        }
    }

    /// Reads the strip that starts at row `first` of a block ahead, in `passes` passes over the tiles.
    pub fn ahead<'a>(&self, base: Rows<'a>, tuned: Rows<'a>, first: usize, passes: usize) -> Ahead<'a> {
        let len = strip_rows(self.cols) * self.cols;
        let steps = passes * self.cols.div_ceil(TILE);
        let of = |side: Rows<'a>| {
            let bytes = side.dtype.row_bytes(first * self.cols).unwrap_or(usize::MAX);
            let rest = side.bytes.get(bytes..).unwrap_or_default();
            &rest[..rest.len().min(side.dtype.row_bytes(len).unwrap_or(0))]
        };
        Ahead::new([of(base), of(tuned)], steps)
    }

    fn tile(tiles: &[f32], cols: usize, rows: usize, (first, width): (usize, usize)) -> Tile<'_> {
        let (height, width) = (strip_rows(cols), width.next_multiple_of(LANES));
        Tile { data: &tiles[first * height..][..height * width], row: width, rows, width }
    }
}

/// What a pass does with the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Measures one row in so many, chosen at random, and adds them up to Z.
    AddUp(usize),
    /// Both products; measures the difference on the way or does not.
    Multiply { measure: bool },
}

/// One row range of a pass over a panel of width `W`.
#[derive(Debug)]
pub struct BlockPart<'p, const W: usize> {
    pub work: Work,
    /// The block X, packed.
    pub x: &'p [f32],
    pub rows: Range<usize>,
    /// Y of these rows, `rows` × `W`.
    pub y: &'p mut [f32],
    /// Z summed over these rows, packed.
    pub z: &'p mut [f32],
    pub strip: Strip<'p>,
    pub progress: &'p mut Progress,
}

impl<const W: usize> BlockPart<'_, W> {
    /// The next rows of this part, both sides.
    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        let cols = self.strip.cols;
        let count = count_rows(base, tuned, cols, self.rows.len() - self.progress.done)?;
        let measure = match self.work {
            Work::AddUp(one_in) => {
                self.add_up((base, tuned), count, one_in);
                return Ok(());
            }
            Work::Multiply { measure } => measure,
        };
        let height = strip_rows(cols);
        for first in (0..count).step_by(height) {
            let rows = height.min(count - first);
            let mut ahead = self.strip.ahead(base, tuned, first + rows, 2);
            let y = &mut self.y[self.progress.done * W..][..rows * W];
            self.strip.decode_forward::<W>((base, tuned), first, rows, self.x, y, &mut ahead);
            if measure {
                let row = self.rows.start + self.progress.done;
                self.strip.measure(rows, row, &mut self.progress.delta);
            }
            self.strip.backward::<W>(rows, y, self.z, &mut ahead);
            self.progress.done += rows;
        }
        Ok(())
    }

    /// The chosen ones of the next `count` rows, one in `one_in`.
    fn add_up(&mut self, sides: (Rows<'_>, Rows<'_>), count: usize, one_in: usize) {
        let first = self.rows.start + self.progress.done;
        let is_chosen = |at: &usize| (random::bits((first + at) as u64) >> 32).is_multiple_of(one_in as u64);
        let mut chosen = (0..count).filter(is_chosen).peekable();
        while let Some(at) = chosen.next() {
            let rows = (at, chosen.peek().copied());
            self.strip.add_up::<W>(sides, rows, first + at, &mut self.progress.delta, self.z);
        }
        self.progress.done += count;
    }
}

/// Deals a block of rows out to the parts that they belong to, in order.
pub fn deal<'p, const W: usize>(
    parts: impl Iterator<Item = BlockPart<'p, W>>,
    base: Rows<'_>,
    tuned: Rows<'_>,
    cols: usize,
) -> Result<(), Error> {
    let count = count_rows(base, tuned, cols, usize::MAX)?;
    let mut first = 0;
    // Nothing of a refused block is used, so the room is counted before the first row.
    let mut parts: heapless::Vec<_, MAX_PARTS> = parts.collect();
    let room: usize = parts.iter().map(|part| part.rows.len() - part.progress.done).sum();
    if count > room {
        return Err(Error::TooManyRows);
    }
    for part in &mut parts {
        let rows = (part.rows.len() - part.progress.done).min(count - first);
        let of = |side| entries(side, first * cols, rows * cols);
        part.push(of(base), of(tuned))?;
        first += rows;
    }
    Ok(())
}
