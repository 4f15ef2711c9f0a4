//! Bytes divided among directions: how many bits the entries of each get, if any.

/// One direction of a matrix, a column of B and a row of A, that asks for bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Direction {
    /// What it is worth to keep all of it: its σ² times the weight of its matrix. Not negative.
    pub worth: f64,
    /// Entries of the column.
    pub rows: usize,
    /// Entries of the row.
    pub cols: usize,
}

/// What codes of some number of bits keep and take.
#[derive(Debug, Clone, Copy)]
pub struct Quantizer<'d> {
    /// Mean squared error of an entry of variance 1, by the number of bits from 0 on, descending.
    pub distortion: &'d [f64],
    /// Bytes of a direction beside its codes.
    pub overhead: usize,
}

impl Quantizer<'_> {
    /// Bytes of a direction; 0 without bits.
    pub fn bytes(&self, direction: &Direction, bits: usize) -> u64 {
        if bits == 0 {
            return 0;
        }
        let row = |len: usize| (len as u64).saturating_mul(bits as u64).div_ceil(8);
        row(direction.rows).saturating_add(row(direction.cols)).saturating_add(self.overhead as u64)
    }

    /// The share of a direction that is kept where both of its vectors are coded.
    fn kept(&self, bits: usize) -> f64 {
        let one = 1.0 - self.distortion.get(bits).copied().unwrap_or(1.0);
        one * one
    }

    /// The bits of a direction where a byte costs `price`: the most worth after what it costs.
    fn choose(&self, direction: &Direction, price: f64) -> usize {
        let (mut best, mut most) = (0, 0.0);
        for bits in 1..self.distortion.len() {
            let left = direction.worth * self.kept(bits) - price * self.bytes(direction, bits) as f64;
            if left > most {
                (best, most) = (bits, left);
            }
        }
        best
    }

    fn total(&self, directions: &[Direction], price: f64) -> u64 {
        let bytes = directions.iter().map(|one| self.bytes(one, self.choose(one, price)));
        bytes.fold(0, u64::saturating_add)
    }
}

/// Gives each of `directions` a number of bits, so that together they take at most `budget` bytes and are worth as much as
/// possible. Returns the bytes used. `bits` has an element per direction.
///
/// Every direction takes the bits that pay best at one price for a byte, the lowest at which all fit: what steps of the
/// largest gain per byte come to. Nothing better exists except in the use of the last bytes, which go to the directions
/// that would come next.
pub fn allocate_bits(
    directions: &[Direction],
    quantizer: &Quantizer<'_>,
    budget: u64,
    bits: &mut [u8],
) -> u64 {
    // Positive floats are ordered as their bits are: half of the interval of bits goes at each step.
    let (mut fits, mut exceeds) = (f64::MAX.to_bits(), 0_u64);
    if quantizer.total(directions, 0.0) <= budget {
        fits = 0;
    }
    while fits > exceeds.saturating_add(1) {
        let middle = exceeds + (fits - exceeds) / 2;
        let price = f64::from_bits(middle);
        *(if quantizer.total(directions, price) <= budget { &mut fits } else { &mut exceeds }) = middle;
    }
    let (price, next) = (f64::from_bits(fits), f64::from_bits(exceeds));
    let mut used = quantizer.total(directions, price);
    for (bits, direction) in bits.iter_mut().zip(directions) {
        let (chosen, more) = (quantizer.choose(direction, price), quantizer.choose(direction, next));
        let extra = quantizer.bytes(direction, more).saturating_sub(quantizer.bytes(direction, chosen));
        let takes = more > chosen && used.saturating_add(extra) <= budget;
        used += if takes { extra } else { 0 };
        *bits = (if takes { more } else { chosen }) as u8;
    }
    used
}
