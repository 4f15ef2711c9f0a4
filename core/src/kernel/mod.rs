//! The inner loops: decode, subtract, the thin product, dot products and plane rotations.
//!
//! [`Kernel`] names an implementation and runs it. `portable` is safe Rust and the reference; the others
//! differ from it in products, plane rotations and Householder updates (`reflect`): by fused multiply-adds, one
//! rounding per term instead of two, and by the lanes of a sum. With u = 2⁻²⁴, d terms and S = Σ|aᵢₖ·xₖⱼ|, every kernel stays
//! within 2·d·u·S of the exact sum, so two kernels differ by at most 4·d·u·S; a rotation stays within
//! 4·u·(|x| + |y|). All other routines give the same bits everywhere.
//!
//! Sums over the depth run in one fixed order per output element, so the bits do not depend on how rows
//! are grouped into calls.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod bytes;
pub mod convert;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod fresh;
mod isa;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod merge;
mod operands;
mod portable;
mod products;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod reflect;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod short;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod simd;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod thin;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Delta;
use isa::Isa;
use operands::BLOCK;
pub use operands::{Ahead, Blocks, BlocksMut, LANES, Lines, LinesMut, ROWS, Strided, TILE, Tile};

/// Runs an always-inlined portable routine, compiled for the features of the kernel.
macro_rules! with_features {
    ($kernel:expr, $module:ident::$routine:ident$(::<$by:path>)?($($arg:expr),*)) => {
        match $kernel.0 {
            Isa::Portable => $module::$routine$(::<$by>)?($($arg),*),
            // SAFETY: the variant is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::avx2::$routine($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::avx512::$routine($($arg),*) },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => $module::$routine$(::<$by>)?($($arg),*),
        }
    };
}

mod rows;

/// An implementation of the inner loops that this processor runs: made only by [`Kernel::detect`] and
/// [`Kernel::available`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Isa);

impl Kernel {
    /// The reference: safe Rust without fused multiply-add.
    pub const PORTABLE: Self = Self(Isa::Portable);

    /// Whether [`Kernel::difference_forward`] is more than one after the other on any processor of this target; small
    /// ones save its code.
    pub(crate) const DECODES_ON_THE_WAY: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

    /// The instruction set's name.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
        }
    }

    /// The fastest kernel that this processor runs.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self(x86::detect());
        #[cfg(target_arch = "aarch64")]
        return Self(Isa::Neon);
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        return Self(Isa::Portable);
    }

    /// Every kernel that this processor runs, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let best = Self::detect();
        let all = [
            Self(Isa::Portable),
            #[cfg(target_arch = "x86_64")]
            Self(Isa::Avx2),
            #[cfg(target_arch = "x86_64")]
            Self(Isa::Avx512),
            #[cfg(target_arch = "aarch64")]
            Self(Isa::Neon),
        ];
        let end = all.iter().position(|&kernel| kernel == best).map_or(1, |i| i + 1);
        all.into_iter().take(end)
    }

    /// Whether it is the one without vectors of its own, which decodes first and multiplies then.
    pub(crate) const fn is_portable(self) -> bool {
        matches!(self.0, Isa::Portable)
    }

    /// out[j, i] = matrix[i, j] for a row-major `matrix` of `cols` columns; as many elements on both sides.
    pub(crate) fn transpose(self, matrix: &[f32], cols: usize, out: &mut [f32]) {
        let rows = matrix.len().checked_div(cols).unwrap_or(0);
        if matrix.len() != rows * cols || out.len() < matrix.len() {
            debug_assert!(false, "operands of a transposition are too short");
            return;
        }
        match self.0 {
            // SAFETY: both sides were checked above; the variants are made only where the processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => unsafe { x86::transpose(matrix, rows, cols, out) },
            _ => portable::transpose(matrix, (0..rows, 0..cols), (rows, cols), out),
        }
    }

    /// Adds the entries of `values`, which lie in row `row` of the difference, to `delta`.
    pub fn measure(self, values: &[f32], row: usize, delta: &mut Delta) {
        let mut lanes = portable::Lanes::NOTHING;
        let (pieces, rest) = values.as_chunks::<LANES>();
        self.measure_pieces(pieces.as_flattened(), LANES, pieces.len(), &mut lanes);
        let first = pieces.len() % 2 * LANES;
        portable::measure(rest, first, &mut lanes);
        if !with_features!(self, portable::sum_up(&mut lanes, delta)) {
            portable::count_non_finite(values, row, delta);
        }
    }

    /// [`Kernel::measure`] for a row of a strip, which is row `row` of the difference.
    pub(crate) fn measure_row(self, d: Blocks<'_>, at: usize, row: usize, delta: &mut Delta) {
        let mut lanes = portable::Lanes::NOTHING;
        let count = d.cols.div_ceil(LANES);
        self.measure_pieces(&d.data[at * LANES..], BLOCK, count, &mut lanes);
        if !with_features!(self, portable::sum_up(&mut lanes, delta)) {
            portable::count_non_finite(d.row(at).flatten(), row, delta);
        }
    }

    /// Measures `count` pieces of [`LANES`] entries, `gap` elements from one to the next.
    fn measure_pieces(self, values: &[f32], gap: usize, count: usize, lanes: &mut portable::Lanes) {
        if count > 0 && values.len() < (count - 1) * gap + LANES {
            debug_assert!(false, "entries to be measured are missing");
            return;
        }
        let done = match self.0 {
            Isa::Portable => 0,
            // SAFETY: the entries are there; the variant is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::measure_avx2(values, gap, count, lanes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::measure_avx512(values, gap, count, lanes) },
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => 0,
        };
        // An even number of pieces, so that the rest begins at the first lane.
        portable::measure_pieces(values.get(done * gap..).unwrap_or_default(), gap, count - done, lanes);
    }

    /// One step of `ahead`, for loops that multiply nothing.
    pub(crate) fn ask(self, ahead: &mut Ahead<'_>) {
        match self.0 {
            // It cannot ask for anything, but stays in step with those that can.
            Isa::Portable => {
                ahead.step();
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => x86::ask(ahead.step()),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => aarch64::ask(ahead.step()),
        }
    }

    /// x·y over min(x, y) elements, in a fixed order of lanes.
    pub fn dot(self, x: &[f32], y: &[f32]) -> f32 {
        with_features!(self, portable::dot(x, y))
    }

    /// x −= f·y, elementwise.
    pub fn subtract_scaled(self, x: &mut [f32], f: f32, y: &[f32]) {
        with_features!(self, portable::subtract_scaled(x, f, y));
    }

    /// A −= v·wᵀ + w·vᵀ and p = A·u for the lower triangle of the leading `size` rows and columns of a symmetric A, whose
    /// rows begin `ld` elements apart, a multiple of [`LANES`]. `vectors` are v, w and u, with zeros from `size` up to the
    /// next multiple of [`LANES`]. What A holds right of its diagonal must be finite and may change.
    pub(crate) fn reflect(self, a: &mut [f32], ld: usize, size: usize, vectors: [&[f32]; 3], p: &mut [f32]) {
        let padded = size.next_multiple_of(LANES);
        let vectors_fit = vectors.iter().all(|x| x.len() >= padded) && p.len() >= padded;
        if !(vectors_fit && ld.is_multiple_of(LANES) && ld >= padded && a.len() / ld.max(1) >= size) {
            debug_assert!(false, "operands of a reflection are too short");
            return;
        }
        match self.0 {
            Isa::Portable => portable::reflect(a, ld, size, vectors, p),
            // SAFETY: the operands were checked above; the variant is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::reflect_avx2(a, ld, size, vectors, p) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::reflect_avx512(a, ld, size, vectors, p) },
            // SAFETY: the operands were checked above; NEON is part of the target.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe {
                reflect::reflect::<core::arch::aarch64::float32x4_t>(a, ld, size, vectors, p);
            },
        }
    }

    /// (x, y) ← (c·x − s·y, s·x + c·y) over min(x, y) elements.
    pub fn rotate(self, x: &mut [f32], y: &mut [f32], c: f32, s: f32) {
        let len = x.len().min(y.len());
        let (x, y) = (&mut x[..len], &mut y[..len]);
        let done = match self.0 {
            Isa::Portable => 0,
            // SAFETY: both have one length; the variant is made only where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::rotate_avx2(x, y, c, s) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::rotate_avx512(x, y, c, s) },
            // SAFETY: both have one length; NEON is part of the target.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { simd::rotate::<core::arch::aarch64::float32x4_t>(x, y, c, s) },
        };
        portable::rotate(&mut x[done..], &mut y[done..], c, s);
    }
}
