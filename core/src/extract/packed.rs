//! Panels of X and Z as the products of a strip take them: packed by the lanes of a vector.

use crate::{kernel::LANES, linalg::scratch::Scratch};

/// Columns of a row of a strip and of a packed panel: whole [`LANES`].
pub const fn padded(cols: usize) -> Option<usize> {
    cols.checked_next_multiple_of(LANES)
}

/// `f32` elements of a packed panel of `cols` × `width`, for a shape that was planned.
pub fn packed_len(cols: usize, width: usize) -> usize {
    padded(cols).unwrap_or(0) * width
}

/// `f32` elements of a packed panel, as scratch.
pub fn packed_scratch(cols: usize, width: usize) -> Scratch {
    padded(cols).map_or(Scratch::OVERFLOW, |cols| Scratch::matrix(cols, width))
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
