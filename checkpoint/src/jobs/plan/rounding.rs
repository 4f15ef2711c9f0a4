//! What rounding would take from factors that are not there yet, from the rounding of random ones.

use crate::error::{Error, Result};
use phlora_core::policy::factor_dtype;
use phlora_core::{Dtype, Rows};

/// Rows of each factor that are tried.
const ROWS: usize = 16;

/// Columns of lora_a that are tried.
const COLUMNS: usize = 256;

/// ‖B·A − B̂·Â‖² as factors with the singular values `sigma` would have it in `dtype`: directions are taken for
/// Gaussian vectors, scaled by √σ in both factors.
pub(super) fn lost_squares(sigma: &[f32], input: usize, dtype: Dtype) -> Result<f64> {
    if sigma.is_empty() || !dtype.is_block() {
        // Halves take less than a millionth.
        return Ok(0.0);
    }
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let scale = |_: usize| 1.0;
    let of_a = errors(&mut noise, COLUMNS, scale, factor_dtype(dtype, input))?;
    let share_of_a = of_a.iter().sum::<f64>() / COLUMNS as f64;
    let root = |at: usize| f64::from(sigma[at]).max(0.0).sqrt();
    let of_b = errors(&mut noise, sigma.len(), root, factor_dtype(dtype, sigma.len()))?;
    let lost = sigma.iter().zip(of_b).map(|(&sigma, of_b)| {
        let sigma = f64::from(sigma);
        share_of_a * sigma * sigma + of_b * sigma
    });
    Ok(lost.sum())
}

/// The mean squared error of each column of random rows of `width` entries, those of column `i` times `scale(i)`.
fn errors(noise: &mut Noise, width: usize, scale: impl Fn(usize) -> f64, dtype: Dtype) -> Result<Vec<f64>> {
    let internal = |e: phlora_core::Error| Error::usage(e.to_string());
    let row_bytes = dtype.row_bytes(width).unwrap_or(0);
    let (mut bytes, mut stored) = (vec![0; row_bytes], vec![0.0; width]);
    let mut sums = vec![0.0; width];
    for _ in 0..ROWS {
        let row: Vec<f32> = (0..width).map(|at| (noise.next() * scale(at)) as f32).collect();
        phlora_core::encode(&row, dtype, &mut bytes).map_err(internal)?;
        phlora_core::decode(Rows::new(dtype, &bytes), &mut stored).map_err(internal)?;
        for ((sum, exact), stored) in sums.iter_mut().zip(&row).zip(&stored) {
            *sum += f64::from(exact - stored).powi(2) / ROWS as f64;
        }
    }
    Ok(sums)
}

/// Gaussian numbers of variance 1, always the same ones.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Above 0, at most 1.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_bits_lose_more() {
        let sigma: Vec<f32> = (0..32_u16).map(|i| 1.0 / f32::from(i + 1)).collect();
        let all: f64 = sigma.iter().map(|&s| f64::from(s).powi(2)).sum();
        let share = |dtype| lost_squares(&sigma, 512, dtype).unwrap() / all;
        let shares = [Dtype::F16, Dtype::Q8_0, Dtype::Q5_0, Dtype::Iq4Nl].map(share);
        assert!(shares.is_sorted() && shares[0] == 0.0, "{shares:?}");
        assert!(shares[1] < 1e-3 && (1e-3..0.05).contains(&shares[3]), "{shares:?}");
        // Rows that do not fill a block are halves, so that lora_a alone loses.
        let odd = lost_squares(&sigma[..30], 512, Dtype::Q8_0).unwrap();
        assert!(odd > 0.0 && odd < lost_squares(&sigma, 512, Dtype::Q8_0).unwrap());
    }
}
