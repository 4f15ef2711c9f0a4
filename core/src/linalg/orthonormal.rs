//! Orthonormalises a panel against itself and the panels before it: block Gram–Schmidt with Cholesky QR.

use crate::{Error, Kernel, linalg::panels};

/// Rounds at most: two do for a well-conditioned panel, each further one repairs what rounding spoilt.
const ROUNDS: u32 = 6;

/// A Gram matrix this near to the identity is well conditioned: Cholesky QR leaves only rounding.
const SETTLED: f32 = 0.3;

/// A pivot below this share of its column is clamped; the next round repairs the column.
const CLAMP: f32 = 1e-5;

/// Makes the columns of the panel `z` (`rows` × `W`) orthonormal to each other and to every panel of
/// `basis`, which are orthonormal themselves. A column that depends on others is replaced by what rounding
/// leaves of it, which is as good as a random direction; a column that cannot be made orthogonal, since
/// the space is full, becomes zero.
///
/// The first round leaves out all panels but the last `near`, where the others can hold no more of Z than rounding:
/// in a Lanczos recurrence all but two. The second round takes that out.
///
/// Returns ‖(I − QQᵀ)Z‖/‖Z‖ in the Frobenius norm: how much of the panel was new.
///
/// Rounds of block Gram–Schmidt and Cholesky QR with equilibrated columns: Stathopoulos and Wu, SIAM J.
/// Sci. Comput. 23 (2002).
///
/// # Errors
/// [`Error::Operands`].
pub fn orthonormalize<const W: usize>(
    kernel: Kernel,
    rows: usize,
    basis: &[f32],
    near: usize,
    z: &mut [f32],
) -> Result<f32, Error> {
    let before = panels::sum_squares(kernel, z);
    if before <= 0.0 {
        z.fill(0.0);
        return Ok(0.0);
    }
    let mut new = 0.0;
    for round in 0..ROUNDS {
        let far = if round == 0 { (basis.len() / (rows * W)).saturating_sub(near) } else { 0 };
        for q in basis.chunks_exact(rows * W).skip(far) {
            panels::deflate(kernel, q, panels::cross::<W>(kernel, q, z)?, z)?;
        }
        let gram = panels::cross::<W>(kernel, z, z)?;
        if round == 0 {
            new = libm::sqrtf((trace(&gram) / before).max(0.0));
        }
        let settled = round > 0 && deviation(&gram) < SETTLED;
        // From the third round on, a column that still loses half of its length has nothing of its own.
        let least = if round > 1 { 0.25 } else { 0.0 };
        panels::transform(kernel, z, &inverse_factor(&gram, least))?;
        if settled {
            break;
        }
    }
    Ok(new)
}

fn trace<const W: usize>(gram: &[[f32; W]; W]) -> f32 {
    (0..W).map(|i| gram[i][i]).sum()
}

/// Largest |G − I|, over columns that are not zero.
fn deviation<const W: usize>(gram: &[[f32; W]; W]) -> f32 {
    let mut largest = 0.0_f32;
    for i in 0..W {
        for j in 0..W {
            let identity = if i == j && gram[i][i] > 0.0 { 1.0 } else { 0.0 };
            largest = largest.max((gram[i][j] - identity).abs());
        }
    }
    largest
}

/// M with Z·M orthonormal, from G = ZᵀZ: D·L⁻ᵀ for the equilibrated D·G·D = L·Lᵀ. Columns with
/// G[i, i] ≤ `least` are dropped.
fn inverse_factor<const W: usize>(gram: &[[f32; W]; W], least: f32) -> [[f32; W]; W] {
    let mut d = [0.0_f32; W];
    for (i, d) in d.iter_mut().enumerate() {
        let square = gram[i][i];
        *d = if square > least.max(f32::MIN_POSITIVE) { 1.0 / libm::sqrtf(square) } else { 0.0 };
    }
    let mut l = [[0.0_f32; W]; W];
    for j in 0..W {
        for i in j..W {
            let mut sum = gram[i][j] * d[i] * d[j];
            for k in 0..j {
                sum -= l[i][k] * l[j][k];
            }
            l[i][j] = if i == j { libm::sqrtf(sum.max(CLAMP)) } else { sum / l[j][j] };
            if i == j && sum < CLAMP {
                // What is left of the column is rounding: it must not be subtracted from others.
                break;
            }
        }
    }
    // Column j of M solves L·(column) = row by forward substitution on the identity: M = D·L⁻ᵀ.
    let mut m = [[0.0_f32; W]; W];
    for j in 0..W {
        if d[j] == 0.0 {
            continue;
        }
        // Row j of L⁻¹, built from the right.
        let mut row = [0.0_f32; W];
        row[j] = 1.0 / l[j][j];
        for i in (0..j).rev() {
            let mut sum = 0.0;
            for k in i + 1..=j {
                sum += row[k] * l[k][i];
            }
            row[i] = -sum / l[i][i];
        }
        for i in 0..W {
            m[i][j] = row[i] * d[i];
        }
    }
    m
}
