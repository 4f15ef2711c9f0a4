//! Many tokens of one adapter: both steps as thin products of decoded pieces of rows with sixteen tokens at a time.

use core::ops::Range;

use super::{
    slice::ROWS,
    tokens::{Group, stored},
    vectors::{Inputs, Outputs},
};
use crate::{
    Error, Scratch, Shape,
    kernel::{LANES, PIECE, Strided},
    linalg::scratch::Buffer,
};

/// Ranks of A that are decoded together.
const RANKS: usize = 32;

/// Scratch of either step for `tokens`.
pub(super) const fn scratch(shape: Shape, rank: usize, tokens: usize) -> Scratch {
    let Some(padded) = tokens.checked_next_multiple_of(LANES) else { return Scratch::OVERFLOW };
    let ranks = if rank < RANKS { rank } else { RANKS };
    let cols = if shape.cols < PIECE { shape.cols } else { PIECE };
    let rows = if shape.rows < ROWS { shape.rows } else { ROWS };
    let inputs = Scratch::matrix(cols, LANES).times(2);
    let down = Scratch::matrix(ranks, padded).and(Scratch::matrix(ranks, cols)).and(inputs);
    let outputs = Scratch::matrix(rows, LANES).times(2);
    let up = Scratch::matrix(rank, padded).and(Scratch::matrix(rows, rank)).and(outputs);
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
    let sixteens = tokens.div_ceil(LANES);
    for (i, t) in t.chunks_mut(RANKS * stride).enumerate() {
        let (first, count) = (ranks.start + i * RANKS, t.len() / stride);
        let mut scratch = Buffer(scratch);
        let sums = scratch.take(count * sixteens * LANES);
        let piece = PIECE.min(a.cols);
        let decoded = scratch.take(count * piece);
        let (picked, turned) = (scratch.take(piece * LANES), scratch.take(piece * LANES));
        sums.fill(0.0);
        for from in (0..a.cols).step_by(PIECE) {
            let cols = PIECE.min(a.cols - from);
            for (k, row) in decoded.chunks_exact_mut(cols).take(count).enumerate() {
                kernel.decode(a.piece(first + k, from, cols), row);
            }
            for (sixteen, sums) in sums.chunks_exact_mut(count * LANES).enumerate() {
                let picked = &mut picked[..cols * LANES];
                for (lane, row) in picked.chunks_exact_mut(cols).enumerate() {
                    match group.tokens.get(sixteen * LANES + lane) {
                        Some((token, _)) => x.copy(kernel, token, from, row),
                        None => row.fill(0.0),
                    }
                }
                let turned = &mut turned[..cols * LANES];
                kernel.transpose(picked, cols, turned)?;
                kernel.product::<LANES>(Strided::row_major(decoded, cols), count, cols, turned, sums)?;
            }
        }
        for (sixteen, sums) in sums.chunks_exact(count * LANES).enumerate() {
            let mut strength = [0.0; LANES];
            for (lane, strength) in strength.iter_mut().enumerate() {
                *strength = group.strength(sixteen * LANES + lane);
            }
            for (t, sums) in t.chunks_exact_mut(stride).zip(sums.as_chunks::<LANES>().0) {
                for ((t, sum), strength) in t[sixteen * LANES..tokens].iter_mut().zip(sums).zip(strength) {
                    *t = sum * strength;
                }
            }
        }
    }
    Ok(())
}

/// y += B·t for output rows `rows` and the first `tokens` of a group: all of them, or a multiple of sixteen.
pub(super) fn up(
    group: &Group<'_>,
    tokens: usize,
    rows: Range<usize>,
    t: &[f32],
    y: &mut impl Outputs,
    scratch: &mut [f32],
) -> Result<(), Error> {
    let (b, kernel, rank) = (group.adapter.b(), group.kernel, group.adapter.rank());
    let sixteens = tokens.div_ceil(LANES);
    let most = ROWS.min(b.bytes.len() / b.row_bytes.max(1));
    let mut scratch = Buffer(scratch);
    let packed = scratch.take(rank * sixteens * LANES);
    let decoded = scratch.take(most * rank);
    let (sums, turned) = (scratch.take(most * LANES), scratch.take(most * LANES));
    for (sixteen, packed) in packed.chunks_exact_mut(rank * LANES).enumerate() {
        for (packed, t) in
            packed.as_chunks_mut::<LANES>().0.iter_mut().zip(t.chunks_exact(group.tokens.len()))
        {
            let t = &t[sixteen * LANES..tokens.min((sixteen + 1) * LANES)];
            let (filled, rest) = packed.split_at_mut(t.len());
            filled.copy_from_slice(t);
            rest.fill(0.0);
        }
    }
    for first in rows.clone().step_by(ROWS) {
        let count = ROWS.min(rows.end - first);
        kernel.decode(stored(b, first..first + count), &mut decoded[..count * rank]);
        for (sixteen, packed) in packed.chunks_exact(rank * LANES).enumerate() {
            let (sums, turned) = (&mut sums[..count * LANES], &mut turned[..count * LANES]);
            sums.fill(0.0);
            kernel.product::<LANES>(Strided::row_major(decoded, rank), count, rank, packed, sums)?;
            kernel.transpose(sums, LANES, turned)?;
            for (lane, values) in turned.chunks_exact(count).enumerate() {
                if let Some((token, _)) = group.tokens.get(sixteen * LANES + lane) {
                    y.add(kernel, token, first, values);
                }
            }
        }
    }
    Ok(())
}
