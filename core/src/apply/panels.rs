//! Several tokens of one adapter: both steps as thin products of decoded tiles.

use core::ops::Range;

use super::{Group, Inputs, Outputs, ROWS, padded, stored, width};
use crate::{Kernel, Scratch, Shape, kernel::Strided, scratch::Buffer};

/// Columns of a tile: whole blocks of every format.
const TILE: usize = crate::adapter::PIECE;

/// Ranks of A that are decoded together.
const RANKS: usize = 32;

/// Scratch of either step for a group of `lanes` tokens, and for one alone.
pub const fn scratch(shape: Shape, rank: usize, lanes: usize) -> Scratch {
    if width(lanes) == 1 {
        // An f16 input, decoded.
        return Scratch::elements(shape.cols);
    }
    let Some(padded) = padded(lanes) else { return Scratch::OVERFLOW };
    let ranks = if rank < RANKS { rank } else { RANKS };
    let cols = if shape.cols < TILE { shape.cols } else { TILE };
    let rows = if shape.rows < ROWS { shape.rows } else { ROWS };
    let tiles = Scratch::matrix(cols, width(lanes)).times(2);
    let down = Scratch::matrix(ranks, padded).and(Scratch::matrix(ranks, cols)).and(tiles);
    let blocks = Scratch::matrix(rows, width(lanes)).times(2);
    let up = Scratch::matrix(rank, padded).and(Scratch::matrix(rows, rank)).and(blocks);
    down.or(up)
}

/// t = s·A·x for ranks `ranks` of a group: `t` has a row per rank, of its lanes in whole widths.
pub fn down<const W: usize>(
    kernel: Kernel,
    group: Group<'_>,
    ranks: Range<usize>,
    x: Inputs<'_>,
    t: &mut [f32],
    scratch: &mut [f32],
) {
    let (a, lanes) = (group.adapter.a(), group.lanes);
    let panels = lanes.len().div_ceil(W);
    for (block, t) in t.chunks_mut(RANKS * panels * W).enumerate() {
        let (first, count) = (ranks.start + block * RANKS, t.len() / (panels * W));
        let mut scratch = Buffer(scratch);
        let sums = scratch.take(count * panels * W);
        let tile_cols = TILE.min(a.cols);
        let decoded = scratch.take(count * tile_cols);
        let (picked, turned) = (scratch.take(tile_cols * W), scratch.take(tile_cols * W));
        sums.fill(0.0);
        for from in (0..a.cols).step_by(TILE) {
            let cols = TILE.min(a.cols - from);
            for (k, row) in decoded.chunks_exact_mut(cols).take(count).enumerate() {
                kernel.decode(a.piece(first + k, from, cols), row);
            }
            for (panel, sums) in sums.chunks_exact_mut(count * W).enumerate() {
                let picked = &mut picked[..cols * W];
                for (lane, row) in picked.chunks_exact_mut(cols).enumerate() {
                    match lanes.get(panel * W + lane) {
                        Some((token, _)) => x.copy(kernel, token, from, row),
                        None => row.fill(0.0),
                    }
                }
                let turned = &mut turned[..cols * W];
                kernel.transpose(picked, cols, turned);
                kernel.product::<W>(Strided::row_major(decoded, cols), count, cols, turned, sums);
            }
        }
        for (panel, sums) in sums.chunks_exact(count * W).enumerate() {
            let mut strength = [0.0; W];
            for (lane, strength) in strength.iter_mut().enumerate() {
                *strength =
                    lanes.get(panel * W + lane).map_or(0.0, |(_, weight)| group.adapter.scale() * weight);
            }
            for (t, sums) in t.chunks_exact_mut(panels * W).zip(sums.as_chunks::<W>().0) {
                for ((t, sum), strength) in t[panel * W..][..W].iter_mut().zip(sums).zip(strength) {
                    *t = sum * strength;
                }
            }
        }
    }
}

/// y += B·t for output rows `rows` of a group.
pub fn up<const W: usize>(
    kernel: Kernel,
    group: Group<'_>,
    rows: Range<usize>,
    t: &[f32],
    y: &mut impl Outputs,
    scratch: &mut [f32],
) {
    let (b, lanes, rank) = (group.adapter.b(), group.lanes, group.adapter.rank());
    let panels = lanes.len().div_ceil(W);
    let most = ROWS.min(b.bytes.len() / b.row_bytes.max(1));
    let mut scratch = Buffer(scratch);
    let packed = scratch.take(rank * panels * W);
    let decoded = scratch.take(most * rank);
    let (sums, turned) = (scratch.take(most * W), scratch.take(most * W));
    for (panel, packed) in packed.chunks_exact_mut(rank * W).enumerate() {
        for (packed, t) in packed.as_chunks_mut::<W>().0.iter_mut().zip(t.chunks_exact(panels * W)) {
            packed.copy_from_slice(&t[panel * W..][..W]);
        }
    }
    for first in rows.clone().step_by(ROWS) {
        let count = ROWS.min(rows.end - first);
        kernel.decode(stored(b, first..first + count), &mut decoded[..count * rank]);
        for (panel, packed) in packed.chunks_exact(rank * W).enumerate() {
            let (sums, turned) = (&mut sums[..count * W], &mut turned[..count * W]);
            sums.fill(0.0);
            kernel.product::<W>(Strided::row_major(decoded, rank), count, rank, packed, sums);
            kernel.transpose(sums, W, turned);
            for (lane, values) in turned.chunks_exact(count).enumerate() {
                if let Some((token, _)) = lanes.get(panel * W + lane) {
                    y.add(kernel, token, first, values);
                }
            }
        }
    }
}
