//! The factors of a module in the adapter's storage format.

use crate::error::{Error, Result};
use phlora_core::Dtype;

/// Largest magnitude that rounds to a finite f16.
const F16_LIMIT: f32 = 65_520.0;

/// `lora_A` [rank, in] and `lora_B` [out, rank] of one module, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Factors {
    pub(crate) rank: usize,
    pub(crate) a: Vec<u8>,
    pub(crate) b: Vec<u8>,
}

impl Factors {
    /// Encodes the factors `a` [rank, cols] and `b` [rows, rank] of a stored weight [rows, cols]. Where that
    /// is [in, out], W = b·a is transposed: `lora_A` = bᵀ, `lora_B` = aᵀ.
    pub(crate) fn encode(a: &[f32], b: &[f32], rank: usize, transposed: bool, dtype: Dtype) -> Result<Self> {
        let largest = a.iter().chain(b).fold(0.0_f32, |most, v| most.max(v.abs()));
        if dtype == Dtype::F16 && largest >= F16_LIMIT {
            let problem = format!("a factor of {largest:e} does not fit into f16; use --dtype bf16 or f32");
            return Err(Error::Usage(problem));
        }
        let (a, b) = if transposed {
            (columns(b, rank, dtype)?, columns(a, a.len() / rank.max(1), dtype)?)
        } else {
            (encode(a, dtype)?, encode(b, dtype)?)
        };
        Ok(Self { rank, a, b })
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

/// Encodes the transpose of `values`, whose rows have `cols` entries.
fn columns(values: &[f32], cols: usize, dtype: Dtype) -> Result<Vec<u8>> {
    let size = dtype.row_bytes(1).unwrap_or(0);
    let mut bytes = vec![0; values.len() * size];
    let places = (0..cols).flat_map(|col| (col..values.len()).step_by(cols.max(1)));
    for (place, bytes) in places.zip(bytes.chunks_exact_mut(size.max(1))) {
        phlora_core::encode(&values[place..=place], dtype, bytes).map_err(|e| Error::Usage(e.to_string()))?;
    }
    Ok(bytes)
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
}
