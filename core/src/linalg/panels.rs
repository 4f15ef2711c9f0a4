//! Tall matrices in panels of `W` columns, and the few products that the solvers make of them.
//!
//! A matrix of `rows` × (`W`·p) is p panels one after another, each row-major `rows` × `W`: the layout that
//! [`Kernel::product`] takes, whichever of its operands the panel is. Errors are those of that product.

use crate::{Error, Kernel, kernel::Strided};

/// Rows per partial sum: long sums in f32 are made of short ones.
const PARTIAL: usize = 256;

/// P_iᵀ·P_j of two panels, both `rows` × `W`.
pub fn cross<const W: usize>(kernel: Kernel, p: &[f32], q: &[f32]) -> Result<[[f32; W]; W], Error> {
    let mut total = [[0.0; W]; W];
    for (p, q) in p.chunks(PARTIAL * W).zip(q.chunks(PARTIAL * W)) {
        let mut partial = [[0.0; W]; W];
        let a = Strided::row_major(p, W).transposed();
        kernel.product::<W>(a, W, p.len() / W, q, partial.as_flattened_mut())?;
        for (total, partial) in total.as_flattened_mut().iter_mut().zip(partial.as_flattened()) {
            *total += partial;
        }
    }
    Ok(total)
}

/// Sum of squares of a panel.
pub fn sum_squares(kernel: Kernel, p: &[f32]) -> f32 {
    p.chunks(PARTIAL).map(|p| kernel.dot(p, p)).sum()
}

/// Writes the columns of panel `last` into the upper triangle of the Gram matrix of panels 0…`last`, of leading
/// dimension `ld`; zeros for panels before `first`.
pub fn extend_gram<const W: usize>(
    kernel: Kernel,
    rows: usize,
    panels: &[f32],
    (first, last): (usize, usize),
    gram: &mut [f32],
    ld: usize,
) -> Result<(), Error> {
    let newest = &panels[last * rows * W..][..rows * W];
    for row in gram.chunks_mut(ld).take(first * W) {
        row[last * W..][..W].fill(0.0);
    }
    for (p, panel) in panels.chunks_exact(rows * W).enumerate().take(last + 1).skip(first) {
        for (i, row) in cross::<W>(kernel, panel, newest)?.iter().enumerate() {
            gram[(p * W + i) * ld + last * W..][..W].copy_from_slice(row);
        }
    }
    Ok(())
}

/// Z −= P·H for a panel P and H of `W` × `W`.
pub fn deflate<const W: usize>(
    kernel: Kernel,
    p: &[f32],
    mut h: [[f32; W]; W],
    z: &mut [f32],
) -> Result<(), Error> {
    h.as_flattened_mut().iter_mut().for_each(|h| *h = -*h);
    kernel.product::<W>(Strided::row_major(p, W), z.len() / W, W, h.as_flattened(), z)
}

/// Rows that `transform` and `combine` take at a time.
pub const PANEL_ROWS: usize = 32;

/// Z ← Z·M in place, for one panel.
pub fn transform<const W: usize>(kernel: Kernel, z: &mut [f32], m: &[[f32; W]; W]) -> Result<(), Error> {
    let mut copy = [[0.0; W]; PANEL_ROWS];
    for z in z.chunks_mut(PANEL_ROWS * W) {
        let copy = &mut copy.as_flattened_mut()[..z.len()];
        copy.copy_from_slice(z);
        z.fill(0.0);
        kernel.product::<W>(Strided::row_major(copy, W), z.len() / W, W, m.as_flattened(), z)?;
    }
    Ok(())
}

/// Hands out P·C, [`PANEL_ROWS`] rows at a time, which are read once.
///
/// `panels` holds p panels of `rows` × `W`, `c` panels of (`W`·p) × `W`; `take(j, i, product)` gets rows i… of the product
/// with the j-th of these.
pub fn combine<const W: usize>(
    kernel: Kernel,
    rows: usize,
    panels: &[f32],
    c: &[f32],
    mut take: impl FnMut(usize, usize, &[[f32; W]]),
) -> Result<(), Error> {
    let size = panels.len() / rows.max(1);
    for start in (0..rows).step_by(PANEL_ROWS) {
        let count = PANEL_ROWS.min(rows - start);
        for (j, c) in c.chunks_exact(size * W).enumerate() {
            let mut out = [[0.0; W]; PANEL_ROWS];
            for (panel, c) in panels.chunks_exact(rows * W).zip(c.chunks_exact(W * W)) {
                let a = Strided::row_major(&panel[start * W..], W);
                kernel.product::<W>(a, count, W, c, out.as_flattened_mut())?;
            }
            take(j, start, &out[..count]);
        }
    }
    Ok(())
}

/// P ← P·C in place: the first `out` panels of `panels` become the product of all of them with C, whose
/// entry [k, j] is `coefficient(k, j)`. `temp` holds [`PANEL_ROWS`]·`W`·`out` elements.
pub fn replace<const W: usize>(
    kernel: Kernel,
    rows: usize,
    panels: &mut [f32],
    out: usize,
    coefficient: impl Fn(usize, usize) -> f32,
    temp: &mut [f32],
) -> Result<(), Error> {
    for start in (0..rows).step_by(PANEL_ROWS) {
        let count = PANEL_ROWS.min(rows - start);
        for (group, temp) in temp.chunks_exact_mut(PANEL_ROWS * W).take(out).enumerate() {
            temp.fill(0.0);
            for (p, panel) in panels.chunks_exact(rows * W).enumerate() {
                let mut c = [[0.0; W]; W];
                for (k, row) in c.iter_mut().enumerate() {
                    for (j, c) in row.iter_mut().enumerate() {
                        *c = coefficient(p * W + k, group * W + j);
                    }
                }
                let a = Strided::row_major(&panel[start * W..], W);
                kernel.product::<W>(a, count, W, c.as_flattened(), temp)?;
            }
        }
        for (panel, temp) in
            panels.chunks_exact_mut(rows * W).zip(temp.chunks_exact(PANEL_ROWS * W)).take(out)
        {
            panel[start * W..][..count * W].copy_from_slice(&temp[..count * W]);
        }
    }
    Ok(())
}
