//! A strip: some rows of Δ, decoded, and its products (Y += D·X, Z += Dᵀ·Y).

use crate::{
    Delta, Error, Kernel, Rows,
    extract::packed::{is_plain, padded},
    kernel::{LANES, Lines, PIECE, Prefetch, STRIP_ROWS, Strip, StripMut},
    linalg::{gram_svd::gram_svd_scratch, random, scratch::Scratch},
};

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

/// Room for `strips` in a pass, and between two passes, for what the decomposition of a Gram matrix of `columns` works with.
pub fn strip_or_svd_scratch(strips: Scratch, columns: Scratch) -> Scratch {
    strips.or(columns.count().map_or(Scratch::OVERFLOW, gram_svd_scratch))
}

/// First column and width of each piece of `cols` columns.
fn pieces(cols: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..cols).step_by(PIECE).map(move |first| (first, PIECE.min(cols - first)))
}

/// Entries `start`… of a chunk, `len` of them: both at whole rows or pieces, so at whole blocks of the format.
pub fn entries(rows: Rows<'_>, start: usize, len: usize) -> Rows<'_> {
    let at = |entry: usize| rows.dtype.row_bytes(entry).unwrap_or(usize::MAX);
    Rows { bytes: rows.bytes.get(at(start)..at(start + len)).unwrap_or_default(), ..rows }
}

/// Rows `first`… of a chunk whose rows have `cols` entries.
fn lines(rows: Rows<'_>, first: usize, cols: usize) -> Lines<'_> {
    let at = |entry: usize| rows.dtype.row_bytes(entry).unwrap_or(usize::MAX);
    Lines { dtype: rows.dtype, bytes: rows.bytes.get(at(first * cols)..).unwrap_or_default(), row: at(cols) }
}

/// Decodes row `row` of a chunk as a whole into `out` (`cols` elements), weighed by `channels`.
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

/// Decodes entries `start`… of a chunk into `out`, weighed by the `channels` of their columns.
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

/// At most [`STRIP_ROWS`] decoded rows of the difference.
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

    /// Decodes rows `first`… of a chunk, `rows` of them.
    pub fn decode(&mut self, (base, tuned): (Rows<'_>, Rows<'_>), first: usize, rows: usize) {
        let mut piece = [0.0; PIECE];
        let mut strip = StripMut { data: self.data, rows, cols: self.cols };
        for (column, width) in pieces(self.cols) {
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

    /// Adds row `row` of the matrix, row `at` of a chunk, to one of the columns of Z or subtracts it, both at random, and
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
        let mut ahead = Prefetch::new([base, tuned].map(of), self.cols.div_ceil(PIECE));
        let sum = &mut z[random as usize % W * self.cols..][..self.cols];
        let values = &mut self.data[..self.cols];
        for (column, width) in pieces(self.cols) {
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
    pub fn forward<const W: usize>(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        with_lanes::<W>(y, |lanes| self.kernel.forward::<W>(self.view(rows), x, lanes, ahead))
    }

    /// [`decode`](Self::decode) and [`forward`](Self::forward), fused where that is faster.
    ///
    /// # Errors
    /// [`Error::Operands`], as for the products below.
    pub fn difference_forward<const W: usize>(
        &mut self,
        (base, tuned): (Rows<'_>, Rows<'_>),
        first: usize,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        if !Kernel::DECODES_ON_THE_WAY || self.scale.is_some() || self.channels.is_some() {
            self.decode((base, tuned), first, rows);
            return self.forward::<W>(rows, x, y, ahead);
        }
        let sides = [base, tuned].map(|side| lines(side, first, self.cols));
        let strip = StripMut { data: self.data, rows, cols: self.cols };
        with_lanes::<W>(y, |lanes| self.kernel.difference_forward::<W>(sides, strip, x, lanes, ahead))
    }

    /// Measures the decoded rows, which are rows `row`… of the matrix.
    pub fn measure(&self, rows: usize, row: usize, delta: &mut Delta) -> Result<(), Error> {
        (0..rows).try_for_each(|i| self.kernel.measure_row(self.view(rows), i, row + i, delta))
    }

    /// Z += Dᵀ·Y for the decoded rows D; Z is packed.
    pub fn backward<const W: usize>(
        &self,
        rows: usize,
        y: &[f32],
        z: &mut [f32],
        ahead: &mut Prefetch<'_>,
    ) -> Result<(), Error> {
        if is_plain(W) {
            return self.kernel.backward::<W>(self.view(rows), y, z, ahead);
        }
        let mut lanes = [[0.0; LANES]; STRIP_ROWS];
        for (lanes, y) in lanes.iter_mut().zip(y.as_chunks::<W>().0) {
            lanes.chunks_exact_mut(LANES / W).zip(y).for_each(|(lanes, y)| lanes.fill(*y));
        }
        self.kernel.backward::<W>(self.view(rows), lanes.as_flattened(), z, ahead)
    }

    /// What to prefetch, the strip that starts at row `first` of a chunk, during `passes` products.
    pub fn ahead<'a>(&self, base: Rows<'a>, tuned: Rows<'a>, first: usize, passes: usize) -> Prefetch<'a> {
        let len = STRIP_ROWS * self.cols;
        let of = |side: Rows<'a>| {
            let bytes = side.dtype.row_bytes(first * self.cols).unwrap_or(usize::MAX);
            let rest = side.bytes.get(bytes..).unwrap_or_default();
            &rest[..rest.len().min(side.dtype.row_bytes(len).unwrap_or(0))]
        };
        Prefetch::new([of(base), of(tuned)], passes)
    }

    fn view(&self, rows: usize) -> Strip<'_> {
        Strip { data: self.data, rows, cols: self.cols }
    }
}

/// Lets `product` add to the lanes of each row of Y, and these to Y.
fn with_lanes<const W: usize>(
    y: &mut [f32],
    product: impl FnOnce(&mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    if is_plain(W) {
        return product(y);
    }
    let mut lanes = [[0.0; LANES]; STRIP_ROWS];
    product(lanes.as_flattened_mut())?;
    for (y, lanes) in y.as_chunks_mut::<W>().0.iter_mut().zip(&lanes) {
        for (y, lanes) in y.iter_mut().zip(lanes.chunks_exact(LANES / W)) {
            *y += lanes.iter().sum::<f32>();
        }
    }
    Ok(())
}
