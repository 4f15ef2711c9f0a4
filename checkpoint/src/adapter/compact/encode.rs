//! Factors into codes.

use super::unpack::unpack;
use crate::adapter::Factors;
use crate::adapter::packed::Packed;
use crate::error::{Error, Result};
use phlora_core::Dtype;
use phlora_core::quantized::compact::{Fit, encode_row, row_bytes};

impl Factors {
    /// The directions of these factors in the compact form, with as many bits as `bits` says; without any where that is 0.
    /// With `weighed`, a scale per column of the weight, what is lost counts as much as these say.
    ///
    /// The scale of a direction is unbiased: the product of its decoded vectors, projected onto the direction, is as long
    /// as the direction. Least squares would make it shorter, and models take that worse than an error that points anywhere.
    pub(crate) fn compact(&self, bits: &[u8], weighed: Option<&[f32]>) -> Result<Self> {
        let (a, b) = (self.a.decoded()?, self.b.decoded()?);
        let ([held, input], [out, _]) = (self.a.shape(), self.b.shape());
        let mut packed = Packed::draft(bits.iter().copied().take(held).filter(|&bits| bits > 0).collect());
        let chosen = || bits.iter().take(held).enumerate().filter(|(_, bits)| **bits > 0);
        for (k, &bits) in chosen() {
            let row = append(&mut packed.a, &a[k * input..][..input], bits)?;
            let column: Vec<f32> = b.iter().skip(k).step_by(held).copied().collect();
            let column = append(&mut packed.b, &column, bits)?;
            let mut scale = [0; 2];
            phlora_core::encode(&[unbiased(&row, &column) as f32], Dtype::Bf16, &mut scale)
                .map_err(|e| Error::usage(e.to_string()))?;
            packed.scales.extend(scale);
        }
        let (new_a, new_b) = unpack(packed, [out, input], None)?;
        let (found_a, found_b) = (new_a.decoded()?, new_b.decoded()?);
        let rank = new_a.shape()[0];
        let lost = chosen().enumerate().map(|(to, (from, _))| {
            let scale = |at: usize| weighed.map_or(1.0, |scales| f64::from(scales[at]));
            let entry = |values: &[f32], at: usize| f64::from(values[at]);
            let rows = (0..input).map(|at| {
                (scale(at) * entry(&a, from * input + at), scale(at) * entry(&found_a, to * input + at))
            });
            let columns = (0..out).map(|at| (entry(&b, at * held + from), entry(&found_b, at * rank + to)));
            lost_squares(sums(rows), sums(columns))
        });
        let lost_squares = lost.sum();
        Ok(Self { a: new_a, b: new_b, lost_squares })
    }
}

/// Adds the codes of a row.
fn append(codes: &mut Vec<u8>, row: &[f32], bits: u8) -> Result<Fit> {
    let start = codes.len();
    codes.resize(start + row_bytes(row.len(), bits.into()).unwrap_or(0), 0);
    encode_row(row, bits.into(), &mut codes[start..]).map_err(|e| Error::usage(e.to_string()))
}

/// What levels of a column and of a row are multiplied by, so that their product is unbiased; 0 for a direction of zeros.
fn unbiased(row: &Fit, column: &Fit) -> f64 {
    let dots = row.dot * column.dot;
    if dots > 0.0 { row.squares * column.squares / dots } else { 0.0 }
}

/// Σx², Σx̂² and Σxx̂ of entries before and after.
fn sums(entries: impl Iterator<Item = (f64, f64)>) -> [f64; 3] {
    entries.fold([0.0; 3], |[one, other, both], (x, y)| [one + x * x, other + y * y, both + x * y])
}

/// ‖b·aᵀ − b̂·âᵀ‖² of one direction. Those of several add up but for products of their errors, which point anywhere.
fn lost_squares(a: [f64; 3], b: [f64; 3]) -> f64 {
    (a[0] * b[0] - 2.0 * a[2] * b[2] + a[1] * b[1]).max(0.0)
}
