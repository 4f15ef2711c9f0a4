//! Many tokens of one adapter: both steps as thin products of decoded tiles with sixteen tokens at a time.

use core::ops::Range;

use super::{
    slice::ROWS,
    tokens::{Group, stored},
    vectors::{Inputs, Outputs},
};
use crate::{
    Error, Scratch, Shape,
    kernel::{LANES, Strided},
    linalg::scratch::Buffer,
};

/// Columns of a tile: whole blocks of every format.
const TILE: usize = crate::adapter::factors::PIECE;

/// Ranks of A that are decoded together.
const RANKS: usize = 32;

/// Scratch of either step for `tokens`.
pub(super) const fn scratch(shape: Shape, rank: usize, tokens: usize) -> Scratch {
    let Some(padded) = tokens.checked_next_multiple_of(LANES) else { return Scratch::OVERFLOW };
    let ranks = if rank < RANKS { rank } else { RANKS };
    let cols = if shape.cols < TILE { shape.cols } else { TILE };
    let rows = if shape.rows < ROWS { shape.rows } else { ROWS };
    let tiles = Scratch::matrix(cols, LANES).times(2);
    let down = Scratch::matrix(ranks, padded).and(Scratch::matrix(ranks, cols)).and(tiles);
    let blocks = Scratch::matrix(rows, LANES).times(2);
    let up = Scratch::matrix(rank, padded).and(Scratch::matrix(rows, rank)).and(blocks);
    down.or(up)
}

/// t = s·A·x for ranks `ranks` and the first `tokens` of a group: `t` has a row per rank.
pub(super) fn down(
    group: &Group<'_>,
    tokens: usize,
    ranks: Range<usize>,
    x: Inputs<'_>,
    t: &mut [f32],
    scratch: &mut [f32],
) -> Result<(), Error> {
    let (a, kernel, stride) = (group.adapter.a(), group.kernel, group.tokens.len());
    let panels = tokens.div_ceil(LANES);
    for (block, t) in t.chunks_mut(RANKS * stride).enumerate() {
        let (first, count) = (ranks.start + block * RANKS, t.len() / stride);
        let mut scratch = Buffer(scratch);
        let sums = scratch.take(count * panels * LANES);
        let tile_cols = TILE.min(a.cols);
        let decoded = scratch.take(count * tile_cols);
        let (picked, turned) = (scratch.take(tile_cols * LANES), scratch.take(tile_cols * LANES));
        sums.fill(0.0);
        for from in (0..a.cols).step_by(TILE) {
            let cols = TILE.min(a.cols - from);
            for (k, row) in decoded.chunks_exact_mut(cols).take(count).enumerate() {
                kernel.decode(a.piece(first + k, from, cols), row);
            }
            for (panel, sums) in sums.chunks_exact_mut(count * LANES).enumerate() {
                let picked = &mut picked[..cols * LANES];
                for (lane, row) in picked.chunks_exact_mut(cols).enumerate() {
                    match group.tokens.get(panel * LANES + lane) {
                        Some((token, _)) => x.copy(kernel, token, from, row),
                        None => row.fill(0.0),
                    }
                }
                let turned = &mut turned[..cols * LANES];
                kernel.transpose(picked, cols, turned)?;
                kernel.product::<LANES>(Strided::row_major(decoded, cols), count, cols, turned, sums)?;
            }
        }
        for (panel, sums) in sums.chunks_exact(count * LANES).enumerate() {
            let mut strength = [0.0; LANES];
            for (lane, strength) in strength.iter_mut().enumerate() {
                *strength = group.strength(panel * LANES + lane);
            }
            for (t, sums) in t.chunks_exact_mut(stride).zip(sums.as_chunks::<LANES>().0) {
                for ((t, sum), strength) in t[panel * LANES..tokens].iter_mut().zip(sums).zip(strength) {
                    *t = sum * strength;
                }
            }
        }
    }
    Ok(())
}

/// y += B·t for output rows `rows` and the first `tokens` of a group: all of them, or whole panels.
pub(super) fn up(
    group: &Group<'_>,
    tokens: usize,
    rows: Range<usize>,
    t: &[f32],
    y: &mut impl Outputs,
    scratch: &mut [f32],
) -> Result<(), Error> {
    let (b, kernel, rank) = (group.adapter.b(), group.kernel, group.adapter.rank());
    let panels = tokens.div_ceil(LANES);
    let most = ROWS.min(b.bytes.len() / b.row_bytes.max(1));
    let mut scratch = Buffer(scratch);
    let packed = scratch.take(rank * panels * LANES);
    let decoded = scratch.take(most * rank);
    let (sums, turned) = (scratch.take(most * LANES), scratch.take(most * LANES));
    for (panel, packed) in packed.chunks_exact_mut(rank * LANES).enumerate() {
        for (packed, t) in
            packed.as_chunks_mut::<LANES>().0.iter_mut().zip(t.chunks_exact(group.tokens.len()))
        {
            let t = &t[panel * LANES..tokens.min((panel + 1) * LANES)];
            let (filled, rest) = packed.split_at_mut(t.len());
            filled.copy_from_slice(t);
            rest.fill(0.0);
        }
    }
    for first in rows.clone().step_by(ROWS) {
        let count = ROWS.min(rows.end - first);
        kernel.decode(stored(b, first..first + count), &mut decoded[..count * rank]);
        for (panel, packed) in packed.chunks_exact(rank * LANES).enumerate() {
            let (sums, turned) = (&mut sums[..count * LANES], &mut turned[..count * LANES]);
            sums.fill(0.0);
            kernel.product::<LANES>(Strided::row_major(decoded, rank), count, rank, packed, sums)?;
            kernel.transpose(sums, LANES, turned)?;
            for (lane, values) in turned.chunks_exact(count).enumerate() {
                if let Some((token, _)) = group.tokens.get(panel * LANES + lane) {
                    y.add(kernel, token, first, values);
                }
            }
        }
    }
    Ok(())
}
