//! Stored rows of a few vectors times one vector: lora_b, whose rows are as long as the rank.
//!
//! The vector stays in registers, and so do the sums of as many rows as a register has lanes, until their lanes are
//! added together. The bits are those of [`dots::dots`], which takes what is left; rows of less than a vector are
//! all taken here.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use super::{
    dots::{self, Floats},
    formats::Float,
    vector::{MOST, Vector, ZERO, lanes},
};

/// Bytes that are asked for ahead of their use.
pub const PREFETCH_DISTANCE: usize = 8192;
/// Bytes of a cache line.
const LINE: usize = 64;

/// `out[i][t]` = (row i)·x\[t\]. One vector alone goes through the loops for rows of 1, 2 or 4 vectors, or of less than
/// one, where they are so short; several are at least as long as a register.
///
/// # Safety
/// As for [`dots::dots`], but for the length of one alone.
#[inline(always)]
pub unsafe fn dots<V: Vector, S: Float<V>, const T: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: [&[f32]; T],
    out: &mut [[f32; T]],
) {
    let mut done = 0;
    // SAFETY: the caller's promise; the length was looked at.
    unsafe {
        if T == 1 {
            let (x, out) = (x[0], out.as_flattened_mut());
            let vectors = if x.len().is_multiple_of(V::LANES) { x.len() / V::LANES } else { 0 };
            done = match vectors {
                _ if x.len() < V::LANES => return narrow::<V, S>(bytes, row_bytes, x, out),
                1 => whole::<V, S, 1>(bytes, row_bytes, x, out),
                2 => whole::<V, S, 2>(bytes, row_bytes, x, out),
                4 => whole::<V, S, 4>(bytes, row_bytes, x, out),
                _ => 0,
            };
        }
        if done < out.len() {
            let rest = bytes.get(done * row_bytes..).unwrap_or_default();
            dots::dots::<V, Floats<V, S>, T>(rest, row_bytes, x, &mut out[done..]);
        }
    }
}

/// The same for whole registers of sums of rows of `N` vectors; gives how many rows these are.
///
/// # Safety
/// As for [`dots::dots`]; x is `N` vectors long.
#[inline(always)]
unsafe fn whole<V: Vector, S: Float<V>, const N: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: &[f32],
    out: &mut [f32],
) -> usize {
    let done = out.len() / V::LANES * V::LANES;
    // Whole lines of a row are asked for with it: a burst would hold up the loads.
    let lines = N * V::LANES * S::LINES / (LINE / 2);
    // SAFETY: row i starts at i * row_bytes and holds `N` vectors; x as well; `sums` has a vector per lane, and a
    // register of `out` is written at a time.
    unsafe {
        let (source, zero) = (S::new(), V::splat(&raw const ZERO));
        let mut wide = [zero; N];
        for (v, wide) in wide.iter_mut().enumerate() {
            *wide = V::load(x.as_ptr().add(v * V::LANES));
        }
        for first in (0..done).step_by(V::LANES) {
            let start = bytes.as_ptr().add(first * row_bytes);
            if lines == 0 {
                for line in (0..V::LANES * row_bytes).step_by(LINE) {
                    V::prefetch_near(start.wrapping_add(PREFETCH_DISTANCE + line));
                }
            }
            let mut sums = [zero; MOST];
            for (i, sum) in sums.iter_mut().enumerate().take(V::LANES) {
                let row = start.add(i * row_bytes);
                for line in 0..lines {
                    V::prefetch_near(row.wrapping_add(PREFETCH_DISTANCE + line * LINE));
                }
                let mut halves = [zero; 2];
                for v in 0..N {
                    halves[v % 2] = halves[v % 2].fused(source.load(row, v * V::LANES), wide[v]);
                }
                *sum = if N > 1 { halves[0].add(halves[1]) } else { halves[0] };
            }
            V::sums(sums.as_ptr()).store(out.as_mut_ptr().add(first));
        }
    }
    done
}

/// The same for rows shorter than a vector.
///
/// # Safety
/// As for [`dots::dots`], but for the length.
#[inline(always)]
unsafe fn narrow<V: Vector, S: Float<V>>(bytes: &[u8], row_bytes: usize, x: &[f32], out: &mut [f32]) {
    let mask = lanes::<V>(0..x.len());
    let mut wide = [0.0; MOST];
    wide.iter_mut().zip(x).for_each(|(wide, x)| *wide = *x);
    // Bytes of a register of rows, and of what is read of them: the last row is read beyond its end.
    let register = V::LANES * row_bytes;
    let read = register + row_bytes.checked_div(x.len()).map_or(0, |size| (V::LANES - x.len()) * size);
    let mut copy = [0; 4 * MOST * (MOST + 1)];
    // SAFETY: `read` bytes are there, in `bytes` or in the copy, which holds those of 4 bytes an element; `sums` has a vector
    // per lane.
    unsafe {
        let (source, zero) = (S::new(), V::splat(&raw const ZERO));
        let (mask, wide) = (V::load(mask.as_ptr()), V::load(wide.as_ptr()));
        for (i, out) in out.chunks_mut(V::LANES).enumerate() {
            let rest = bytes.get(i * register..).unwrap_or_default();
            let rows = if rest.len() >= read {
                rest
            } else {
                let len = (out.len() * row_bytes).min(rest.len());
                copy[..len].copy_from_slice(&rest[..len]);
                &copy[..]
            };
            let mut sums = [zero; MOST];
            for (i, sum) in sums.iter_mut().enumerate().take(V::LANES) {
                *sum = zero.fused(source.load(rows.as_ptr().add(i * row_bytes), 0).keep(mask), wide);
            }
            dots::add_up(&[sums], out.as_chunks_mut::<1>().0);
        }
    }
}
