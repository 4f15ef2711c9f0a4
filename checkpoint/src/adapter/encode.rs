//! Encodes the factors of one extracted module in the adapter's storage format.

use super::factor::Factor;
use crate::error::{Error, Reason, Result, filled};
use phlora_core::policy::factor_dtype;
use phlora_core::{Dtype, Rows};

/// Entries encoded at once: a multiple of every block size.
const AT_ONCE: usize = 1024;

/// `lora_a` [rank, in] and `lora_b` [out, rank] of one module, encoded.
#[derive(Debug, Clone)]
pub(crate) struct Factors {
    pub(crate) a: Factor<'static>,
    pub(crate) b: Factor<'static>,
    /// ‖B·A − B̂·Â‖² of the factors before and after they were encoded.
    pub(crate) lost_squares: f64,
}

/// An f32 matrix [rows, cols] with any strides.
#[derive(Debug, Clone, Copy)]
struct Matrix<'v> {
    values: &'v [f32],
    shape: [usize; 2],
    strides: [usize; 2],
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
    /// Encodes the first `rank` of `held` pairs in the factors `a` [held, cols] and `b` [rows, held] of a stored
    /// weight [rows, cols]. Where that is [in, out], W = b·a is transposed: `lora_a` = bᵀ, `lora_b` = aᵀ.
    ///
    /// A factor whose rows do not fill the blocks of `dtype` is stored in f16. With `weighed`, a scale per column of
    /// a weight that is not transposed, what is lost counts as much as these say.
    pub(crate) fn encode(
        a: &[f32],
        b: &[f32],
        held: usize,
        rank: usize,
        transposed: bool,
        weighed: Option<&[f32]>,
        dtype: Dtype,
    ) -> Result<Self> {
        // max() passes over NaN, which no adapter may hold either.
        if let Some(bad) = [a, b].iter().find_map(|side| first_non_finite(side).map(|at| side[at])) {
            return Err(Error::usage(format!("a factor came out as {bad}; please report this matrix")));
        }
        let (cols, rows) = (a.len() / held.max(1), b.len() / held.max(1));
        let right = Matrix { values: a, shape: [rank, cols], strides: [cols, 1] };
        let left = Matrix { values: b, shape: [rows, rank], strides: [held, 1] };
        let (a, b) = if transposed { (left.transposed(), right.transposed()) } else { (right, left) };
        let (mut sums_a, mut sums_b) = (vec![Rounding::default(); rank], vec![Rounding::default(); rank]);
        let a = a.encode(factor_dtype(dtype, a.shape[1]), |row, start, values, stored| {
            let scales = weighed.map(|scales| &scales[start..]);
            sums_a[row].add_all(values, stored, scales);
        })?;
        let b = b.encode(factor_dtype(dtype, b.shape[1]), |_, start, values, stored| {
            for (sums, (value, stored)) in sums_b[start..].iter_mut().zip(values.iter().zip(stored)) {
                sums.add(f64::from(*value), f64::from(*stored));
            }
        })?;
        let lost_squares = sums_a.iter().zip(&sums_b).map(|(a, b)| lost_squares(a, b)).sum();
        Ok(Self { a, b, lost_squares })
    }

    /// The first `rank` pairs in another format; those of a higher rank are kept as they are, in f32.
    pub(crate) fn cut(&self, rank: usize, weighed: Option<&[f32]>, dtype: Dtype) -> Result<Self> {
        Self::encode(&self.a.decoded()?, &self.b.decoded()?, self.rank(), rank, false, weighed, dtype)
    }

    /// Filled up with zeros to `rank`.
    pub(crate) fn pad(&mut self, rank: usize) {
        let (cols, rows) = (self.a.shape()[1], self.b.shape()[0]);
        self.a.resize([rank, cols]);
        self.b.resize([rows, rank]);
    }

    pub(crate) fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    /// Bytes that they take in a file, beside names.
    pub(crate) fn bytes(&self) -> u64 {
        let shape = [self.b.shape()[0], self.a.shape()[1]];
        let codes = self.a.codes().map(|codes| codes.len(shape));
        let plain = || [&self.a, &self.b].iter().filter_map(|factor| factor.encoded_len()).sum();
        codes.map_or_else(plain, Option::unwrap_or_default) as u64
    }
}

/// Where the first entry that is no number is; looks at all of them at once before, since there is hardly ever one.
fn first_non_finite(values: &[f32]) -> Option<usize> {
    let all_finite = values.iter().fold(true, |all, value| all & value.is_finite());
    if all_finite { None } else { values.iter().position(|value| !value.is_finite()) }
}

impl Matrix<'_> {
    fn transposed(self) -> Self {
        let ([rows, cols], [down, right]) = (self.shape, self.strides);
        Self { shape: [cols, rows], strides: [right, down], ..self }
    }

    /// Encodes it, and gives `compare` ranges of its rows: row, first column, entries and what is stored of them.
    fn encode(
        &self,
        dtype: Dtype,
        mut compare: impl FnMut(usize, usize, &[f32], &[f32]),
    ) -> Result<Factor<'static>> {
        let [rows, cols] = self.shape;
        let internal = |e: phlora_core::Error| Error::usage(e.to_string());
        let row_bytes = dtype.row_bytes(cols).ok_or_else(|| {
            Error::usage(format!("rows of {cols} entries do not fit into {}", dtype.name()))
        })?;
        let mut bytes = filled(0, rows.saturating_mul(row_bytes))?;
        let (mut values, mut stored) = ([0.0_f32; AT_ONCE], [0.0_f32; AT_ONCE]);
        for (row, bytes) in bytes.chunks_exact_mut(row_bytes.max(1)).enumerate() {
            let mut rest = bytes;
            for start in (0..cols).step_by(AT_ONCE) {
                let width = AT_ONCE.min(cols - start);
                let (values, stored) = (&mut values[..width], &mut stored[..width]);
                let entries = &self.values[row * self.strides[0] + start * self.strides[1]..];
                match self.strides[1] {
                    1 => values.copy_from_slice(&entries[..width]),
                    stride => {
                        values.iter_mut().zip(entries.iter().step_by(stride)).for_each(|(v, &e)| *v = e);
                    }
                }
                let (now, after) = rest.split_at_mut(dtype.row_bytes(width).unwrap_or(rest.len()));
                rest = after;
                phlora_core::encode(values, dtype, now).map_err(internal)?;
                phlora_core::decode(Rows::new(dtype, now), stored).map_err(internal)?;
                if let Some(at) = first_non_finite(stored) {
                    let name = dtype.name().to_ascii_lowercase();
                    let problem = format!("a factor of {:e} does not fit into {name}", values[at]);
                    return Err(Error::usage(problem).because(Reason::Range));
                }
                compare(row, start, values, stored);
            }
        }
        Factor::new(dtype, self.shape, bytes)
    }
}

impl Rounding {
    /// Adds entries, each counted as the scale of its place says; in lanes, which do not wait for each other.
    fn add_all(&mut self, values: &[f32], stored: &[f32], scales: Option<&[f32]>) {
        const LANES: usize = 8;
        let mut lanes = [Self::default(); LANES];
        for (start, (values, stored)) in
            (0..).step_by(LANES).zip(values.chunks(LANES).zip(stored.chunks(LANES)))
        {
            for (i, (lane, (value, stored))) in lanes.iter_mut().zip(values.iter().zip(stored)).enumerate() {
                let scale = scales.map_or(1.0, |scales| f64::from(scales[start + i]));
                lane.add(scale * f64::from(*value), scale * f64::from(*stored));
            }
        }
        for lane in lanes {
            self.exact += lane.exact;
            self.stored += lane.stored;
            self.error += lane.error;
            self.bias += lane.bias;
        }
    }

    fn add(&mut self, value: f64, stored: f64) {
        let error = stored - value;
        self.exact += value * value;
        self.stored += stored * stored;
        self.error += error * error;
        self.bias += value * error;
    }
}

/// ‖b·aᵀ − b̂·âᵀ‖² of one pair. Those of several pairs add up, since the pairs are orthogonal.
fn lost_squares(a: &Rounding, b: &Rounding) -> f64 {
    b.error * a.stored + b.exact * a.error + 2.0 * b.bias * (a.bias + a.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(factor: &Factor<'_>) -> Vec<f32> {
        factor.decoded().unwrap()
    }

    #[test]
    fn transposes_a_conv1d() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0]); // rank 2, 1 row, 3 columns
        let factors = Factors::encode(&a, &b, 2, 2, true, None, Dtype::F32).unwrap();
        assert_eq!((floats(&factors.a), factors.a.shape()), (vec![7.0, 8.0], [2, 1]));
        assert_eq!((floats(&factors.b), factors.b.shape()), (vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0], [3, 2]));
    }

    #[test]
    fn refuses_what_f16_cannot_hold() {
        let large = [7e4];
        assert!(Factors::encode(&large, &[1.0], 1, 1, false, None, Dtype::F16).is_err());
        assert!(Factors::encode(&large, &[1.0], 1, 1, false, None, Dtype::Bf16).is_ok());
    }

    #[test]
    fn refuses_factors_that_are_no_numbers() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(Factors::encode(&[1.0, bad], &[1.0], 1, 1, false, None, Dtype::F32).is_err());
            assert!(Factors::encode(&[1.0, 2.0], &[bad], 1, 1, false, None, Dtype::F32).is_err());
        }
    }

    #[test]
    fn knows_what_rounding_loses() {
        // One pair: ‖b·aᵀ − b̂·âᵀ‖² is exact. Halfway, tiny (all is lost in f16) and exact values.
        for (scale, dtype) in [(1.0, Dtype::F16), (1e-9, Dtype::F16), (0.1, Dtype::Bf16), (1e-9, Dtype::F32)]
        {
            let a = [1.0003_f32, -0.7, 0.33].map(|v| v * scale);
            let b = [0.9_f32, 0.123].map(|v| v * scale);
            let factors = Factors::encode(&a, &b, 1, 1, false, None, dtype).unwrap();
            let (sa, sb) = (floats(&factors.a), floats(&factors.b));
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
            let flipped = Factors::encode(&a, &b, 1, 1, true, None, dtype).unwrap();
            assert_eq!(flipped.a.encoded().unwrap(), factors.b.encoded().unwrap());
            assert_eq!(flipped.b.encoded().unwrap(), factors.a.encoded().unwrap());
        }
    }
}
