//! The factors of a module in the adapter's storage format.

use crate::error::{Error, Result};
use phlora_core::{Dtype, Rows};

/// Largest magnitude that rounds to a finite f16.
const F16_LIMIT: f32 = 65_520.0;

/// Entries decoded at once.
const CHUNK: usize = 1024;

/// `lora_A` [rank, in] and `lora_B` [out, rank] of one module, encoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factors {
    pub(crate) rank: usize,
    pub(crate) a: Vec<u8>,
    pub(crate) b: Vec<u8>,
    /// ‖B·A − B̂·Â‖² of the factors before and after they were encoded.
    pub(crate) lost_squares: f64,
}

/// Sums over one column of B or one row of A.
#[derive(Debug, Clone, Copy, Default)]
struct Rounding {
    /// Σx².
    exact: f64,
    /// Σx̂², x̂ being what is stored.
    stored: f64,
    /// Σ(x̂ − x)².
    error: f64,
    /// Σx(x̂ − x).
    bias: f64,
}

impl Factors {
    /// Encodes the factors `a` [rank, cols] and `b` [rows, rank] of a stored weight [rows, cols]. Where that
    /// is [in, out], W = b·a is transposed: `lora_A` = bᵀ, `lora_B` = aᵀ.
    pub(crate) fn encode(a: &[f32], b: &[f32], rank: usize, transposed: bool, dtype: Dtype) -> Result<Self> {
        // max() passes over NaN, which no adapter may hold either.
        if let Some(bad) = a.iter().chain(b).find(|v| !v.is_finite()) {
            return Err(Error::Usage(format!("a factor came out as {bad}; please report this matrix")));
        }
        let largest = a.iter().chain(b).fold(0.0_f32, |most, v| most.max(v.abs()));
        if dtype == Dtype::F16 && largest >= F16_LIMIT {
            let problem = format!("a factor of {largest:e} does not fit into f16; use --dtype bf16 or f32");
            return Err(Error::Usage(problem));
        }
        let cols = a.len() / rank.max(1);
        let (encoded_a, encoded_b) = (encode(a, dtype)?, encode(b, dtype)?);
        let sums_a = rounding(a, &encoded_a, dtype, rank, |at| at / cols.max(1))?;
        let sums_b = rounding(b, &encoded_b, dtype, rank, |at| at % rank)?;
        let lost = sums_a.iter().zip(&sums_b).map(|(a, b)| lost_squares(a, b)).sum();
        let size = dtype.row_bytes(1).unwrap_or(1);
        let (a, b) = if transposed {
            (transpose(&encoded_b, rank, size), transpose(&encoded_a, cols, size))
        } else {
            (encoded_a, encoded_b)
        };
        Ok(Self { rank, a, b, lost_squares: lost })
    }

    /// `lora_A` with rows of zeros appended up to `rank`.
    pub(crate) fn padded_a(&self, rank: usize) -> Vec<u8> {
        let row = self.a.len() / self.rank.max(1);
        let mut padded = self.a.clone();
        padded.resize(row * rank, 0);
        padded
    }

    /// `lora_B` with columns of zeros appended up to `rank`.
    pub(crate) fn padded_b(&self, rank: usize, dtype: Dtype) -> Vec<u8> {
        let size = dtype.row_bytes(1).unwrap_or(0);
        let mut padded = Vec::with_capacity(self.b.len() / self.rank.max(1) * rank);
        for row in self.b.chunks_exact((self.rank * size).max(1)) {
            padded.extend_from_slice(row);
            padded.resize(padded.len() + (rank - self.rank) * size, 0);
        }
        padded
    }
}

fn encode(values: &[f32], dtype: Dtype) -> Result<Vec<u8>> {
    let mut bytes = vec![0; values.len() * dtype.row_bytes(1).unwrap_or(0)];
    phlora_core::encode(values, dtype, &mut bytes).map_err(|e| Error::Usage(e.to_string()))?;
    Ok(bytes)
}

/// Compares `values` with what `bytes` hold of them, in sums over those that `group` numbers alike.
fn rounding(
    values: &[f32],
    bytes: &[u8],
    dtype: Dtype,
    groups: usize,
    group: impl Fn(usize) -> usize,
) -> Result<Vec<Rounding>> {
    let mut sums = vec![Rounding::default(); groups];
    let mut stored = [0.0_f32; CHUNK];
    let size = dtype.row_bytes(1).unwrap_or(1);
    for (chunk, (values, bytes)) in values.chunks(CHUNK).zip(bytes.chunks(CHUNK * size)).enumerate() {
        let stored = &mut stored[..values.len()];
        phlora_core::decode(Rows::new(dtype, bytes), stored).map_err(|e| Error::Usage(e.to_string()))?;
        for (at, (value, stored)) in values.iter().zip(&*stored).enumerate() {
            let (value, stored) = (f64::from(*value), f64::from(*stored));
            let (sum, error) = (&mut sums[group(chunk * CHUNK + at)], stored - value);
            sum.exact += value * value;
            sum.stored += stored * stored;
            sum.error += error * error;
            sum.bias += value * error;
        }
    }
    Ok(sums)
}

/// ‖b·aᵀ − b̂·âᵀ‖² of one pair. Those of several pairs add up, since the pairs are orthogonal.
fn lost_squares(a: &Rounding, b: &Rounding) -> f64 {
    b.error * a.stored + b.exact * a.error + 2.0 * b.bias * (a.bias + a.error)
}

/// The transpose of an encoded matrix whose rows have `cols` entries of `size` bytes.
fn transpose(bytes: &[u8], cols: usize, size: usize) -> Vec<u8> {
    let entries = bytes.chunks_exact(size.max(1));
    (0..cols).flat_map(|col| entries.clone().skip(col).step_by(cols.max(1))).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    #[test]
    fn transposes_a_conv1d() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0]); // rank 2, 1 row, 3 columns
        let factors = Factors::encode(&a, &b, 2, true, Dtype::F32).unwrap();
        assert_eq!(floats(&factors.a), [7.0, 8.0]); // [2, 1]
        assert_eq!(floats(&factors.b), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]); // [3, 2]
    }

    #[test]
    fn pads_with_zeros() {
        let factors = Factors::encode(&[1.0, 2.0, 3.0], &[4.0, 5.0], 1, false, Dtype::F32).unwrap();
        assert_eq!(floats(&factors.padded_a(2)), [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
        assert_eq!(floats(&factors.padded_b(3, Dtype::F32)), [4.0, 0.0, 0.0, 5.0, 0.0, 0.0]);
    }

    #[test]
    fn refuses_what_f16_cannot_hold() {
        let large = [7e4];
        assert!(Factors::encode(&large, &[1.0], 1, false, Dtype::F16).is_err());
        assert!(Factors::encode(&large, &[1.0], 1, false, Dtype::Bf16).is_ok());
    }

    #[test]
    fn refuses_factors_that_are_no_numbers() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(Factors::encode(&[1.0, bad], &[1.0], 1, false, Dtype::F32).is_err());
            assert!(Factors::encode(&[1.0, 2.0], &[bad], 1, false, Dtype::F32).is_err());
        }
    }

    #[test]
    fn knows_what_rounding_loses() {
        // One pair: ‖b·aᵀ − b̂·âᵀ‖² is exact. Halfway, tiny (all is lost in f16) and exact values.
        for (scale, dtype) in [(1.0, Dtype::F16), (1e-9, Dtype::F16), (0.1, Dtype::Bf16), (1e-9, Dtype::F32)]
        {
            let a = [1.0003_f32, -0.7, 0.33].map(|v| v * scale);
            let b = [0.9_f32, 0.123].map(|v| v * scale);
            let factors = Factors::encode(&a, &b, 1, false, dtype).unwrap();
            let stored = |bytes: &[u8], n: usize| {
                let mut out = vec![0.0; n];
                phlora_core::decode(Rows::new(dtype, bytes), &mut out).unwrap();
                out
            };
            let (sa, sb) = (stored(&factors.a, 3), stored(&factors.b, 2));
            let mut expected = 0.0;
            for (b, sb) in b.iter().zip(&sb) {
                for (a, sa) in a.iter().zip(&sa) {
                    expected += (f64::from(*b) * f64::from(*a) - f64::from(*sb) * f64::from(*sa)).powi(2);
                }
            }
            let found = factors.lost_squares;
            assert!(
                (found - expected).abs() <= 1e-6 * expected,
                "{dtype:?} {scale:e}: {found:e} {expected:e}"
            );
            let flipped = Factors::encode(&a, &b, 1, true, dtype).unwrap();
            assert_eq!((flipped.a, flipped.b), (factors.b, factors.a));
        }
    }
}
