//! The order in which GGUF files hold the rows of some query and key weights.
//!
//! Checkpoints turn the first half of a head against its second; llama.cpp's rotary embedding of these
//! architectures turns neighbours. So the converter interleaves: of each head, row (t, j) with t ∈ {0, 1} and
//! j < rows/heads/2 becomes row (j, t).

/// A permutation of rows: row `i` of the result is row [`source`](Self::source)`(i)` of what it is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPermutation {
    /// Half the rows of a head.
    half: usize,
    to_gguf: bool,
}

impl RowPermutation {
    /// From a checkpoint's order to GGUF's: `rows` rows of `heads` heads. `None` where these do not go into halves
    /// of heads.
    pub fn to_gguf(rows: usize, heads: usize) -> Option<Self> {
        let head = rows.checked_div(heads)?;
        (head > 0 && head.is_multiple_of(2) && head * heads == rows)
            .then_some(Self { half: head / 2, to_gguf: true })
    }

    /// The way back.
    #[must_use]
    pub fn inverse(self) -> Self {
        Self { to_gguf: !self.to_gguf, ..self }
    }

    /// The row that becomes row `row`.
    pub fn source(self, row: usize) -> usize {
        let head = 2 * self.half;
        let (start, within) = (row / head * head, row % head);
        // From (j, t) to (t, j), or back.
        let within = if self.to_gguf {
            within % 2 * self.half + within / 2
        } else {
            within % self.half * 2 + within / self.half
        };
        start + within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaves_the_halves_of_each_head() {
        let order = RowPermutation::to_gguf(12, 2).unwrap();
        let rows: Vec<_> = (0..12).map(|row| order.source(row)).collect();
        assert_eq!(rows, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        for row in 0..12 {
            assert_eq!(order.source(order.inverse().source(row)), row);
        }
    }

    #[test]
    fn heads_must_have_halves() {
        for (rows, heads) in [(12, 0), (12, 5), (6, 2), (0, 1), (2, 4)] {
            assert_eq!(RowPermutation::to_gguf(rows, heads), None, "{rows} {heads}");
        }
    }
}
