//! Encoding of a row, with what its codes stand for.

use super::{MAX_BITS, levels, row_bytes};
use crate::Error;
use half::f16;

/// Factors of the scale that are tried: entries are only nearly normal.
const GAINS: [f64; 9] = [0.8, 0.86, 0.91, 0.96, 1.0, 1.04, 1.09, 1.14, 1.2];

/// What the levels of a row are to its entries.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Fit {
    /// Σ entry².
    pub squares: f64,
    /// Σ entry × level.
    pub dot: f64,
    /// Σ level².
    pub level_squares: f64,
}

impl Fit {
    /// The squared cosine between entries and levels: what is kept of the row; 0 for a row of zeros.
    pub fn kept(&self) -> f64 {
        if self.dot > 0.0 { self.dot * self.dot / (self.squares * self.level_squares) } else { 0.0 }
    }
}

/// Writes codes of 1 to 8 bits for `values`, which must be finite, into `out`, as long as
/// [`row_bytes`](super::row_bytes) says. The levels are those of [`levels`]. The scale at which values are compared
/// with them is the one of `GAINS` that keeps the most; it is not stored, since the scale of a direction follows
/// from both of its rows.
///
/// # Errors
/// [`Error::OutputLength`], in bytes, also where there is no quantiser of so many bits; nothing is written.
pub fn encode_row(values: &[f32], bits: u32, out: &mut [u8]) -> Result<Fit, Error> {
    let expected = row_bytes(values.len(), bits).filter(|_| (1..=MAX_BITS).contains(&bits)).unwrap_or(0);
    if out.len() != expected || !(1..=MAX_BITS).contains(&bits) {
        return Err(Error::OutputLength { expected });
    }
    let mut table = [0.0; 1 << MAX_BITS];
    for (value, half) in table.iter_mut().zip(levels(bits)) {
        *value = f16::from_le_bytes(half).to_f32();
    }
    let table = &table[..1 << bits];
    let squares: f64 = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    out.fill(0);
    let mut best = (Fit { squares, ..Fit::default() }, 0.0);
    if squares > 0.0 {
        let natural = libm::sqrt(values.len() as f64 / squares);
        for gain in GAINS {
            let gain = (gain * natural) as f32;
            let mut fit = Fit { squares, ..Fit::default() };
            for &value in values {
                let level = f64::from(table[nearest(table, value * gain)]);
                fit.dot += f64::from(value) * level;
                fit.level_squares += level * level;
            }
            if fit.kept() > best.0.kept() {
                best = (fit, gain);
            }
        }
    }
    let (mut word, mut held, mut bytes) = (0_u32, 0, out.iter_mut());
    for &value in values {
        word |= (nearest(table, value * best.1) as u32) << held;
        held += bits;
        while held >= 8 {
            bytes.next().into_iter().for_each(|byte| *byte = word as u8);
            (word, held) = (word >> 8, held - 8);
        }
    }
    bytes.next().into_iter().for_each(|byte| *byte = word as u8);
    Ok(best.0)
}

/// The level nearest to `value`: how many of the middles between two levels are below it.
fn nearest(levels: &[f32], value: f32) -> usize {
    let (mut from, mut count) = (0, levels.len());
    while count > 1 {
        count /= 2;
        let middle = 0.5 * (levels[from + count - 1] + levels[from + count]);
        if value > middle {
            from += count;
        }
    }
    from
}
