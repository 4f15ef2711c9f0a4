//! Decodes a strip of Δ, 256 columns at a time, multiplies it (Y = D·X, Z = Dᵀ·Y), and packs X and Z for that.

use crate::{
    Delta, Kernel, Rows,
    kernel::{Ahead, LANES, Lines, STRIP_ROWS, SUM_COLUMNS, Strip, StripMut},
    linalg::{gram_svd::gram_svd_scratch, random, scratch::Scratch},
};

/// Columns of a row of a strip and of a packed panel: whole [`LANES`].
pub const fn padded(cols: usize) -> Option<usize> {
    cols.checked_next_multiple_of(LANES)
}

/// `f32` elements of a packed panel of `cols` × `width`, for a shape that was planned.
pub fn packed_len(cols: usize, width: usize) -> usize {
    padded(cols).unwrap_or(0) * width
}

/// `f32` elements of a strip. Sixteen rows and both panels fit into a second-level cache beside what is read ahead.
pub const fn strip_len(cols: usize) -> Option<usize> {
    match padded(cols) {
        Some(cols) => cols.checked_mul(STRIP_ROWS),
        None => None,
    }
}

/// `f32` elements of a strip, as scratch.
pub fn strip_scratch(cols: usize) -> Scratch {
    strip_len(cols).map_or(Scratch::OVERFLOW, Scratch::elements)
}

/// Room for `strips` in a pass; between two passes, for what the decomposition of a Gram matrix of `columns` works with.
pub fn shared_scratch(strips: Scratch, columns: Scratch) -> Scratch {
    strips.or(columns.count().map_or(Scratch::OVERFLOW, gram_svd_scratch))
}

/// `f32` elements of a packed panel, as scratch.
pub fn packed_scratch(cols: usize, width: usize) -> Scratch {
    padded(cols).map_or(Scratch::OVERFLOW, |cols| Scratch::matrix(cols, width))
}

/// First column and width of each tile of `cols` columns.
fn tiles(cols: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..cols.div_ceil(SUM_COLUMNS))
        .map(move |tile| (tile * SUM_COLUMNS, SUM_COLUMNS.min(cols - tile * SUM_COLUMNS)))
}

/// Whether a packed panel of that width is a plain one.
pub const fn is_plain(width: usize) -> bool {
    width == LANES
}

/// Packs a panel of cols × `W` for the products: rows that one vector takes, their elements side by side, with zeros up to
/// whole [`LANES`].
pub fn pack<const W: usize>(panel: &[f32], packed: &mut [f32]) {
    for (rows, packed) in panel.chunks(LANES).zip(packed.as_chunks_mut::<LANES>().0) {
        packed.fill(0.0);
        for (g, row) in rows.chunks_exact(W).enumerate() {
            packed.iter_mut().skip(g).step_by(LANES / W).zip(row).for_each(|(packed, x)| *packed = *x);
        }
    }
}

/// Undoes [`pack`].
pub fn unpack<const W: usize>(packed: &[f32], panel: &mut [f32]) {
    for (rows, packed) in panel.chunks_mut(LANES).zip(packed.as_chunks::<LANES>().0) {
        for (g, row) in rows.chunks_exact_mut(W).enumerate() {
            row.iter_mut().zip(packed.iter().skip(g).step_by(LANES / W)).for_each(|(x, packed)| *x = *packed);
        }
    }
}

/// Entries `start`… of a run of rows, `len` of them: both at whole rows or tiles, so at whole blocks.
pub fn entries(rows: Rows<'_>, start: usize, len: usize) -> Rows<'_> {
    let at = |entry: usize| rows.dtype.row_bytes(entry).unwrap_or(usize::MAX);
    Rows { bytes: rows.bytes.get(at(start)..at(start + len)).unwrap_or_default(), ..rows }
}

/// Rows `first`… of a run of rows of `cols` entries.
fn lines(rows: Rows<'_>, first: usize, cols: usize) -> Lines<'_> {
    let at = |entry: usize| rows.dtype.row_bytes(entry).unwrap_or(usize::MAX);
    Lines { dtype: rows.dtype, bytes: rows.bytes.get(at(first * cols)..).unwrap_or_default(), row: at(cols) }
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

/// A run of decoded rows of the difference.
#[derive(Debug)]
pub struct DecodedStrip<'p> {
    kernel: Kernel,
    pub cols: usize,
    /// Factor on every entry, where it needs one.
    scale: Option<f32>,
    /// Factors on the columns, where the criterion has them.
    channels: Option<&'p [f32]>,
    data: &'p mut [f32],
}

impl<'p> DecodedStrip<'p> {
    /// Takes [`strip_len`] elements.
    pub fn new(
        kernel: Kernel,
        cols: usize,
        scale: Option<f32>,
        channels: Option<&'p [f32]>,
        data: &'p mut [f32],
    ) -> Self {
        Self { kernel, cols, scale, channels, data }
    }

    /// Decodes rows `first`… of a block, `rows` of them, at most [`STRIP_ROWS`].
    pub fn decode(&mut self, (base, tuned): (Rows<'_>, Rows<'_>), first: usize, rows: usize) {
        let mut piece = [0.0; SUM_COLUMNS];
        let mut strip = StripMut { data: self.data, rows, cols: self.cols };
        for (column, width) in tiles(self.cols) {
            let piece = &mut piece[..width];
            let channels = self.channels.map(|channels| &channels[column..]);
            for row in 0..rows {
                let start = (first + row) * self.cols + column;
                weighed(self.kernel, (base, tuned), start, channels, piece);
                if let Some(scale) = self.scale {
                    for x in &mut *piece {
                        *x *= scale;
                    }
                }
                strip.write(row, column, piece);
            }
        }
    }

    /// Adds row `row` of the matrix, row `at` of a block, to one of the columns of Z or subtracts it, both at random, and
    /// measures it where `delta` is to know it; Z is by columns. Row `next` comes after it.
    pub fn add_up<const W: usize>(
        &mut self,
        (base, tuned): (Rows<'_>, Rows<'_>),
        (at, next): (usize, Option<usize>),
        row: usize,
        delta: Option<&mut Delta>,
        z: &mut [f32],
    ) {
        let random = random::bits(row as u64);
        let factor = libm::copysignf(self.scale.unwrap_or(1.0), if random >> 63 == 0 { 1.0 } else { -1.0 });
        let of = |side| next.map_or(&[][..], |next| entries(side, next * self.cols, self.cols).bytes);
        let mut ahead = Ahead::new([base, tuned].map(of), self.cols.div_ceil(SUM_COLUMNS));
        let sum = &mut z[random as usize % W * self.cols..][..self.cols];
        let values = &mut self.data[..self.cols];
        for (column, width) in tiles(self.cols) {
            let out = &mut values[column..][..width];
            let channels = self.channels.map(|channels| &channels[column..]);
            self.kernel.ask(&mut ahead);
            weighed(self.kernel, (base, tuned), at * self.cols + column, channels, out);
            self.kernel.subtract_scaled(&mut sum[column..][..width], factor, out);
        }
        if let Some(delta) = delta {
            self.kernel.measure(values, row, delta);
        }
    }

    /// Y += D·X for the decoded rows D; X is packed.
    pub fn forward<const W: usize>(&self, rows: usize, x: &[f32], y: &mut [f32], ahead: &mut Ahead<'_>) {
        with_lanes::<W>(y, |lanes| self.kernel.forward::<W>(self.view(rows), x, lanes, ahead));
    }

    /// [`decode`](Self::decode) and [`forward`](Self::forward), on the way where that is faster.
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
        let sides = [base, tuned].map(|side| lines(side, first, self.cols));
        let strip = StripMut { data: self.data, rows, cols: self.cols };
        with_lanes::<W>(y, |lanes| self.kernel.difference_forward::<W>(sides, strip, x, lanes, ahead));
    }

    /// Measures the decoded rows, which are rows `row`… of the matrix.
    pub fn measure(&self, rows: usize, row: usize, delta: &mut Delta) {
        for i in 0..rows {
            self.kernel.measure_row(self.view(rows), i, row + i, delta);
        }
    }

    /// Z += Dᵀ·Y for the decoded rows D; Z is packed.
    pub fn backward<const W: usize>(&self, rows: usize, y: &[f32], z: &mut [f32], ahead: &mut Ahead<'_>) {
        if is_plain(W) {
            return self.kernel.backward::<W>(self.view(rows), y, z, ahead);
        }
        let mut lanes = [[0.0; LANES]; STRIP_ROWS];
        for (lanes, y) in lanes.iter_mut().zip(y.as_chunks::<W>().0) {
            lanes.chunks_exact_mut(LANES / W).zip(y).for_each(|(lanes, y)| lanes.fill(*y));
        }
        self.kernel.backward::<W>(self.view(rows), lanes.as_flattened(), z, ahead);
    }

    /// Reads the strip that starts at row `first` of a block ahead, in `passes` products.
    pub fn ahead<'a>(&self, base: Rows<'a>, tuned: Rows<'a>, first: usize, passes: usize) -> Ahead<'a> {
        let len = STRIP_ROWS * self.cols;
        let of = |side: Rows<'a>| {
            let bytes = side.dtype.row_bytes(first * self.cols).unwrap_or(usize::MAX);
            let rest = side.bytes.get(bytes..).unwrap_or_default();
            &rest[..rest.len().min(side.dtype.row_bytes(len).unwrap_or(0))]
        };
        Ahead::new([of(base), of(tuned)], passes)
    }

    fn view(&self, rows: usize) -> Strip<'_> {
        Strip { data: self.data, rows, cols: self.cols }
    }
}

/// Lets `product` add to the lanes of each row of Y, and these to Y.
fn with_lanes<const W: usize>(y: &mut [f32], product: impl FnOnce(&mut [f32])) {
    if is_plain(W) {
        return product(y);
    }
    let mut lanes = [[0.0; LANES]; STRIP_ROWS];
    product(lanes.as_flattened_mut());
    for (y, lanes) in y.as_chunks_mut::<W>().0.iter_mut().zip(&lanes) {
        for (y, lanes) in y.iter_mut().zip(lanes.chunks_exact(LANES / W)) {
            *y += lanes.iter().sum::<f32>();
        }
    }
}
