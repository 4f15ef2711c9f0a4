//! One table of allowed errors. A test that needs another figure adds a line here and says why.

/// ‖A − UΣVᵀ‖_F / (‖A‖_F · max(m, n) · ε): LAPACK's scaled residual of a decomposition, as its own tests
/// bound it.
pub const SVD_RESIDUAL: f64 = 30.0;

/// ‖I − UᵀU‖_max / (m · ε): LAPACK's scaled loss of orthogonality.
pub const SVD_ORTHOGONALITY: f64 = 30.0;

/// |σ − σ_reference| / (σ_max · max(m, n) · ε).
pub const SVD_VALUES: f64 = 30.0;

/// Kept energy over the optimum, multi-read mode.
pub const MULTI_READ: f64 = 0.999;

/// Kept energy over the optimum, stream-once mode.
pub const STREAM_ONCE: f64 = 0.97;

/// |energy reported − 1 + ‖Δ − BA‖²/‖Δ‖²|: rounding of the factors to f32.
pub const HONEST_ENERGY: f64 = 2e-5;

/// The same where entries are of sizes far apart and most are zero: a few in 10,000 are off by more than [`HONEST_ENERGY`].
pub const HONEST_OF_SPARSE: f64 = 1e-2;

/// Terms of the bound on a product of depth d: |error| ≤ this · d · u · Σ|a·x|, u = 2⁻²⁴.
pub const PRODUCT_TERMS: f64 = 2.0;

/// ‖Σ wᵢsᵢBᵢAᵢ − B·A‖_F of a combination that drops nothing, over ε·Σ|wᵢsᵢ|·Σₖ‖bₖ‖·‖aₖ‖: every column of a stack is
/// factored within its own rounding, in sums that run over 256 rows at a time.
pub const COMBINE_RESIDUAL: f64 = 100.0;

/// Kept energy of a combination over the optimum, less than 1 by rounding alone.
pub const COMBINE_ENERGY: f64 = 1.0 - 1e-5;

/// Terms of the bound on y += s·B·(A·x) beyond columns + rank: scaling, weighting and adding, for each adapter.
pub const APPLY_TERMS: f64 = 6.0;

/// Merged weights before they are rounded to their format, beyond ranks: |error| ≤ (2·ranks + this)·u·(|w| + Σ|w·s|·|B|·|A|).
pub const MERGE_TERMS: f64 = 4.0;

/// ‖G·w − λ·w‖ / (λ_max · size · ε) of an eigenpair of a Gram matrix: as for other decompositions.
pub const GRAM_RESIDUAL: f64 = 30.0;

/// Relative error of a singular value from a graded Gram matrix, whose scaled matrix is well conditioned.
pub const GRADED_VALUES: f64 = 1e-3;

/// Cosine of two eigenvectors of a Gram matrix where eigenvalues are nearly equal: vectors farther apart than 10⁻³ of the
/// largest eigenvalue are not made orthogonal, and are so to a unit of rounding over their distance.
pub const GRAM_COSINE: f64 = 2e-4;
