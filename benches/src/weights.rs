//! One weight matrix before and after a generated fine-tuning, in any storage format.

use phlora_core::{Dtype, encode};

/// The singular values of a difference, relative to the first: k^-`decay` for the first `directions`, and a
/// bulk of noise whose edge lies at `bulk`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectrum {
    /// Exponent of the power law.
    pub decay: f32,
    /// Edge of the bulk.
    pub bulk: f32,
    /// Directions that follow the power law.
    pub directions: usize,
    /// How much larger the first direction is than the power law says.
    pub first: f32,
}

impl Spectrum {
    /// A few directions hold nearly everything.
    pub const FAST: Self = Self { decay: 1.0, bulk: 0.02, directions: 64, first: 1.0 };
    /// What full fine-tuning looks like.
    pub const MIDDLE: Self = Self { decay: 0.8, bulk: 0.06, directions: 64, first: 1.0 };
    /// Slow decay into a high bulk.
    pub const SLOW: Self = Self { decay: 0.6, bulk: 0.12, directions: 64, first: 1.0 };
    /// Nothing but a bulk.
    pub const FLAT: Self = Self { decay: 0.0, bulk: 1.0, directions: 0, first: 1.0 };
    /// Exactly twenty directions, as far as rounding to the storage format allows.
    pub const LOW_RANK: Self = Self { decay: 0.5, bulk: 0.0, directions: 20, first: 1.0 };
    /// More directions than the ranks asked for, and nothing beside them.
    pub const DEFICIENT: Self = Self { decay: 0.3, bulk: 0.0, directions: 200, first: 1.0 };
    /// One direction a hundred times larger than the next.
    pub const HUGE: Self = Self { decay: 0.5, bulk: 0.06, directions: 64, first: 100.0 };
}

/// Length of the table of random numbers that noise is read from.
const TABLE: usize = 1 << 16;

/// A generator of rows; the same seed gives the same matrix, whatever rows are asked for.
#[derive(Debug)]
pub struct Weights {
    cols: usize,
    seed: u64,
    spectrum: Spectrum,
    table: Vec<f32>,
    /// directions × cols, with the singular values in.
    right: Vec<f32>,
}

fn hash(x: u64) -> u64 {
    let mut z = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Nearly normal: the sum of four uniform numbers, variance 1.
fn deviate(index: u64) -> f32 {
    let bits = hash(index);
    let sum: f32 = (0..4).map(|i| (bits >> (16 * i) & 0xffff) as f32 / 65536.0 - 0.5).sum();
    sum * 3.0_f32.sqrt()
}

impl Weights {
    /// Weights with `cols` columns whose difference has about this spectrum.
    pub fn new(rows: usize, cols: usize, seed: u64, spectrum: Spectrum) -> Self {
        let table = (0..TABLE as u64).map(|i| deviate(hash(seed) ^ i)).collect();
        let norm = 1.0 / ((rows as f32).sqrt() * (cols as f32).sqrt());
        let right = (0..spectrum.directions * cols)
            .map(|i| {
                let factor = if i < cols { spectrum.first } else { 1.0 };
                let power = ((i / cols + 1) as f32).powf(-spectrum.decay);
                deviate(hash(seed + 1) ^ i as u64) * norm * factor * power
            })
            .collect();
        Self { cols, seed, spectrum, table, right }
    }

    /// Row `i` of the base and of the tuned side, in f32 before rounding to the storage format.
    pub fn row(&self, i: usize, rows: usize, base: &mut [f32], tuned: &mut [f32]) {
        let bulk = self.spectrum.bulk / ((rows as f32).sqrt() + (self.cols as f32).sqrt());
        let offset = hash((self.seed + 2) ^ ((i as u64) << 20)) as usize;
        // The tuned side first holds the difference; its scale is that of fine-tuning against weights.
        tuned.fill(0.0);
        for k in 0..self.spectrum.directions {
            let left = deviate(hash(self.seed + 3) ^ (i * self.spectrum.directions + k) as u64);
            for (t, r) in tuned.iter_mut().zip(&self.right[k * self.cols..]) {
                *t += left * r;
            }
        }
        for (j, (b, t)) in base.iter_mut().zip(tuned).enumerate() {
            let mixed = hash(offset as u64 ^ (j / 64) as u64) as usize + j;
            *b = 0.02 * self.table[mixed % TABLE];
            *t = *b + *t + bulk * self.table[(mixed / TABLE + j) % TABLE];
        }
    }

    /// Both sides of all rows in storage format.
    ///
    /// # Panics
    /// When the matrix cannot be addressed.
    pub fn pair(&self, rows: usize, dtype: Dtype) -> [Vec<u8>; 2] {
        let bytes = dtype.row_bytes(self.cols).expect("addressable");
        let mut sides = [vec![0; rows * bytes], vec![0; rows * bytes]];
        let (mut base, mut tuned) = (vec![0.0; self.cols], vec![0.0; self.cols]);
        for i in 0..rows {
            self.row(i, rows, &mut base, &mut tuned);
            for (values, side) in [&base, &tuned].into_iter().zip(&mut sides) {
                encode(values, dtype, &mut side[i * bytes..][..bytes]).expect("lengths agree");
            }
        }
        sides
    }
}
