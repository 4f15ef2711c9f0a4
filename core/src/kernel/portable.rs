//! The reference routines, in safe Rust that compilers vectorise.
//!
//! `measure`, `dot` and `rotate` are `inline(always)`: an instruction set's module compiles them again with
//! its features on. They sum in fixed lanes, so the bits are the same on every processor.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::ops::Range;

use super::{LANES, RowMajor, STRIP_ROWS, SUM_COLUMNS, Strided, Strip, operands::SEGMENT};
use crate::Delta;

/// C += A·X, row by row, each output element summed in the order of the depth.
pub fn product<const W: usize>(a: Strided<'_>, rows: usize, depth: usize, x: &[f32], c: &mut [f32]) {
    let (x, c) = (x.as_chunks::<W>().0, c.as_chunks_mut::<W>().0);
    for (i, c) in c.iter_mut().take(rows).enumerate() {
        let mut sum = *c;
        let column = a.data.get(i * a.row..).unwrap_or_default().iter().step_by(a.col.max(1));
        for (&a, x) in column.zip(x).take(depth) {
            for (sum, &x) in sum.iter_mut().zip(x) {
                *sum += a * x;
            }
        }
        *c = sum;
    }
}

/// Lanes of Y += D·X, as [`Kernel::forward`](super::Kernel::forward) has them.
pub fn forward<const W: usize>(d: Strip<'_>, x: &[f32], y: &mut [f32]) {
    let step = LANES / W;
    let x = &x.as_chunks::<LANES>().0[..d.cols.div_ceil(step)];
    for (i, y) in y.as_chunks_mut::<LANES>().0.iter_mut().enumerate().take(d.rows) {
        for (segments, x) in d.data.chunks(SUM_COLUMNS * STRIP_ROWS).zip(x.chunks(SUM_COLUMNS / step)) {
            let mut sums = [0.0; LANES];
            for (segment, x) in segments.chunks_exact(SEGMENT).zip(x.chunks(W)) {
                for (d, x) in segment[i * LANES..][..LANES].chunks_exact(step).zip(x) {
                    for lane in 0..LANES {
                        sums[lane] += d[lane % step] * x[lane];
                    }
                }
            }
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
        }
    }
}

/// Z += Dᵀ·Y, as [`Kernel::backward`](super::Kernel::backward) has it.
pub fn backward<const W: usize>(d: Strip<'_>, y: &[f32], z: &mut [f32]) {
    let (step, y) = (LANES / W, y.as_chunks::<LANES>().0);
    let z = &mut z.as_chunks_mut::<LANES>().0[..d.cols.div_ceil(step)];
    for (segment, z) in d.data.chunks_exact(SEGMENT).zip(z.chunks_mut(W)) {
        for (k, z) in z.iter_mut().enumerate() {
            let mut sums = *z;
            for (row, y) in segment.chunks_exact(LANES).zip(y).take(d.rows) {
                let d = &row[k * step..][..step];
                for lane in 0..LANES {
                    sums[lane] += d[lane % step] * y[lane];
                }
            }
            *z = sums;
        }
    }
}

/// W += Yᵀ·D by rows, of which there are at most `width`.
pub fn merge_rows(width: usize, d: RowMajor<'_>, y: &[f32], values: &mut [f32]) {
    for (w, row) in values.chunks_exact_mut(d.width.max(1)).enumerate() {
        for (column, values) in row.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            for (i, y) in y.chunks_exact(width).enumerate().take(d.rows) {
                let d = &d.data[i * d.row..][..d.width].as_chunks::<LANES>().0[column];
                sums.iter_mut().zip(d).for_each(|(sum, d)| *sum += y[w] * d);
            }
            values.iter_mut().zip(sums).for_each(|(value, sum)| *value += sum);
        }
    }
}

/// Lanes of the f64 sum of squares: two [`LANES`] of a row.
pub const SQUARES: usize = 2 * LANES;

/// Measurements of a row, lane by lane.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub squares: [f64; SQUARES],
    pub largest: [f32; SQUARES],
}

impl Lanes {
    pub const NOTHING: Self = Self { squares: [0.0; SQUARES], largest: [0.0; SQUARES] };

    #[inline(always)]
    fn add(&mut self, lane: usize, value: f32) {
        let (wide, magnitude) = (f64::from(value), value.abs());
        self.squares[lane] += wide * wide;
        self.largest[lane] = if magnitude > self.largest[lane] { magnitude } else { self.largest[lane] };
    }
}

/// Measures `count` times [`LANES`] values, `gap` elements from one to the next, even ones in the first half of the
/// lanes, and then the `rest`, fewer values.
#[inline(always)]
pub fn measure(values: &[f32], gap: usize, count: usize, rest: &[f32], lanes: &mut Lanes) {
    let at = |i: usize| values.get(i * gap..).and_then(|rest| rest.first_chunk::<LANES>());
    for i in (0..count / 2 * 2).step_by(2) {
        if let (Some(even), Some(odd)) = (at(i), at(i + 1)) {
            for lane in 0..LANES {
                lanes.add(lane, even[lane]);
                lanes.add(LANES + lane, odd[lane]);
            }
        }
    }
    let last = at(count - count % 2).filter(|_| count % 2 == 1);
    let rest = last.into_iter().flatten().chain(rest);
    rest.enumerate().for_each(|(lane, &value)| lanes.add(lane, value));
}

/// Adds all lanes to `delta`; false, and nothing done, where they are not finite.
#[inline(always)]
pub fn sum_up(lanes: &mut Lanes, delta: &mut Delta) -> bool {
    let Lanes { squares, largest } = lanes;
    // Halves onto halves: lane after lane would take longer than the rows.
    let mut width = SQUARES / 2;
    while width > 0 {
        for i in 0..width {
            squares[i] += squares[i + width];
            largest[i] = if largest[i + width] > largest[i] { largest[i + width] } else { largest[i] };
        }
        width /= 2;
    }
    // No square of a finite f32 overflows in f64, so the sum tells whether anything is not finite.
    let finite = squares[0].is_finite();
    if finite {
        delta.sum_squares += squares[0];
        delta.max_abs = delta.max_abs.max(largest[0]);
    }
    finite
}

/// Adds what is finite of `values`, which are row `row`, and counts the rest: for the rare row that [`sum_up`] refused.
#[cold]
pub fn count_non_finite<'v>(values: impl IntoIterator<Item = &'v f32>, row: usize, delta: &mut Delta) {
    for &value in values {
        if value.is_finite() {
            delta.sum_squares += f64::from(value) * f64::from(value);
            delta.max_abs = delta.max_abs.max(value.abs());
        } else {
            delta.non_finite += 1;
        }
    }
    delta.first_non_finite_row = Some(delta.first_non_finite_row.map_or(row, |first| first.min(row)));
}

/// Lanes of a dot product: four vectors of eight.
const DOT: usize = 32;

/// x·y over min(x, y) elements.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let len = x.len().min(y.len());
    let ((xs, x_rest), (ys, y_rest)) = (x[..len].as_chunks::<DOT>(), y[..len].as_chunks::<DOT>());
    let mut lanes = [0.0_f32; DOT];
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..DOT {
            lanes[i] += x[i] * y[i];
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += x * y;
    }
    let mut width = DOT / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// x −= f·y.
#[inline(always)]
pub fn subtract_scaled(x: &mut [f32], f: f32, y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x -= f * y;
    }
}

/// A −= v·wᵀ + w·vᵀ and p = A·u for the lower triangle of the leading `size` rows and columns of A, whose rows begin `ld`
/// elements apart.
pub fn reflect(a: &mut [f32], ld: usize, size: usize, [v, w, u]: [&[f32]; 3], p: &mut [f32]) {
    p[..size].fill(0.0);
    for (i, row) in a.chunks_exact_mut(ld).take(size).enumerate() {
        let (vi, wi, ui) = (v[i], w[i], u[i]);
        row[..=i].iter_mut().zip(v).zip(w).for_each(|((x, v), w)| *x -= vi * w + wi * v);
        p[..i].iter_mut().zip(&*row).for_each(|(p, x)| *p += ui * x);
        p[i] += dot(&row[..=i], u);
    }
}

/// (x, y) ← (c·x − s·y, s·x + c·y), as x and y plus small changes (Rutishauser): so thousands of rotations
/// do not let the lengths drift.
#[inline(always)]
pub fn rotate(x: &mut [f32], y: &mut [f32], c: f32, s: f32) {
    let tau = s / (1.0 + c);
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (*x - s * (*y + tau * *x), *y + s * (*x - tau * *y));
    }
}

/// out[j, i] = matrix[i, j] for the given rows and columns of a row-major matrix of `rows` × `cols`.
pub fn transpose(
    matrix: &[f32],
    (of_rows, of_cols): (Range<usize>, Range<usize>),
    (rows, cols): (usize, usize),
    out: &mut [f32],
) {
    for i in of_rows {
        for j in of_cols.clone() {
            out[j * rows + i] = matrix[i * cols + j];
        }
    }
}
