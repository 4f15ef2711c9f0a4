//! A run of rows, decoded in tiles: both products with a thin block, and what they are packed into.

use crate::{
    Delta, Kernel, Rows,
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

/// Entries `start`… of a run of rows, `len` of them: both at whole rows or tiles, so at whole blocks.
pub fn entries(rows: Rows<'_>, start: usize, len: usize) -> Rows<'_> {
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
    pub cols: usize,
    /// Factor on every entry, where it needs one.
    scale: Option<f32>,
    /// Factors on the columns, where the criterion has them.
    channels: Option<&'p [f32]>,
    tiles: &'p mut [f32],
    /// Lanes of the sums of a product, zero between two.
    sums: &'p mut [f32],
}

impl<'p> Strip<'p> {
    /// Takes [`strip_len`] elements, to be [cleared](Self::clear) before the first product unless they are zero.
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

    /// Makes the buffer fit for products.
    pub fn clear(&mut self) {
        self.sums.fill(0.0);
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

    /// Adds row `row` of the matrix, row `at` of a block, to one of the columns of Z or subtracts it, both at random, and
    /// measures it where `delta` is to know it; Z is packed. Row `next` comes after it.
    pub fn add_up<const W: usize>(
        &mut self,
        (base, tuned): (Rows<'_>, Rows<'_>),
        (at, next): (usize, Option<usize>),
        row: usize,
        mut delta: Option<&mut Delta>,
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
            if let Some(delta) = delta.as_deref_mut() {
                self.kernel.measure(out, row, delta);
            }
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
    pub fn measure(&self, rows: usize, row: usize, delta: &mut Delta) {
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
    pub fn backward<const W: usize>(&self, rows: usize, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>) {
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
