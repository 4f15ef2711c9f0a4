//! Energy, rank and noise floor from the leading singular values of a matrix and its exact norm.

use crate::Shape;

/// The leading singular values of a matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectrum<'s> {
    /// Those that are known, descending; any number of them.
    pub singular_values: &'s [f32],
    /// ‖Δ‖²_F, which is Σσ² over all of them.
    pub sum_squares: f64,
    /// The matrix's shape.
    pub shape: Shape,
}

/// The edge of a matrix's noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// A singular value above this is no noise.
    pub floor: f64,
    /// Known singular values above it. Where all are, more may be.
    pub rank: usize,
}

/// 99 % of all real Gaussian matrices have their largest singular value below the edge plus so many of its
/// deviations: a quantile of the Tracy–Widom law of order 1.
const TRACY_WIDOM_99: f64 = 2.0234;

/// Share of ‖Δ‖²_F that f32 does not tell from nothing.
const INVISIBLE: f64 = 1e-6;

/// A share is met with this much to spare: factors in f32 keep a little less than the spectrum says.
const SPARE: f64 = 1e-6;

fn square(sigma: f32) -> f64 {
    f64::from(sigma) * f64::from(sigma)
}

impl Spectrum<'_> {
    /// Σσ² of the first `rank`.
    pub fn kept(&self, rank: usize) -> f64 {
        self.singular_values.iter().take(rank).map(|&sigma| square(sigma)).sum()
    }

    /// The share of ‖Δ‖²_F that `rank` keeps, from 0 to 1; 1 where the matrix is zero.
    pub fn energy(&self, rank: usize) -> f64 {
        if self.sum_squares > 0.0 { (self.kept(rank) / self.sum_squares).min(1.0) } else { 1.0 }
    }

    /// The smallest rank that keeps `share` of ‖Δ‖²_F, and a millionth more, which f32 factors may lose;
    /// `None` where the known singular values do not. At least 1 unless the matrix is zero.
    pub fn rank_for(&self, share: f64) -> Option<usize> {
        if self.sum_squares <= 0.0 {
            return Some(0);
        }
        let wanted = self.wanted(share);
        let mut kept = 0.0;
        for (i, &sigma) in self.singular_values.iter().enumerate() {
            kept += square(sigma);
            if kept >= wanted {
                return Some(i + 1);
            }
        }
        None
    }

    /// Σσ² of which f32 factors keep `share` of ‖Δ‖²_F. A share of 1 is lowered to what f32 can tell from 1.
    pub(super) fn wanted(&self, share: f64) -> f64 {
        (share + SPARE).min(1.0 - INVISIBLE) * self.sum_squares
    }

    /// Where the noise ends: the largest singular value that a matrix of independent entries of one variance
    /// would have. Its bulk ends at √v·(√rows + √cols) (Marchenko and Pastur 1967); a single largest value lies
    /// about that edge as the Tracy–Widom law says (Johnstone 2001, with the centring of Ma 2012), and the
    /// floor is the level that one in a hundred such matrices exceeds.
    ///
    /// The variance v is that of what is left when the k directions above the floor are taken away, (‖Δ‖² −
    /// Σσ²)/((rows − k)(cols − k)); with v falls the floor, so both are repeated until no more rise above it.
    /// Neither needs the rest of the spectrum. The floor says what can be told from noise; a mean squared
    /// error would be least with a floor higher by up to 4/√3 : 2 (Gavish and Donoho 2014).
    pub fn noise(&self) -> Noise {
        let Shape { rows, cols } = self.shape;
        let (mut rank, mut kept) = (0, 0.0);
        loop {
            if rank >= rows.min(cols) {
                return Noise { floor: 0.0, rank };
            }
            let floor = noise_edge(rows - rank, cols - rank, self.rest(kept));
            let before = rank;
            while self.singular_values.get(rank).is_some_and(|&sigma| f64::from(sigma) > floor) {
                kept += square(self.singular_values[rank]);
                rank += 1;
            }
            if rank == before {
                return Noise { floor, rank };
            }
        }
    }

    /// What is left of ‖Δ‖²_F.
    fn rest(&self, kept: f64) -> f64 {
        let visible = INVISIBLE * self.sum_squares;
        if self.sum_squares - kept > visible { self.sum_squares - kept } else { visible }
    }
}

/// The level that the largest singular value of a Gaussian matrix of this shape and this expected ‖·‖²_F
/// exceeds once in a hundred times.
fn noise_edge(rows: usize, cols: usize, sum_squares: f64) -> f64 {
    let (m, n) = (rows as f64, cols as f64);
    let (a, b) = (libm::sqrt(m - 0.5), libm::sqrt(n - 0.5));
    // In f32, which is plenty here: the f64 one brings 2 KiB of code along.
    let deviation = (a + b) * f64::from(libm::cbrtf((1.0 / a + 1.0 / b) as f32));
    libm::sqrt(sum_squares / (m * n) * ((a + b) * (a + b) + TRACY_WIDOM_99 * deviation))
}
