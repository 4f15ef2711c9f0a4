//! Several adapters as one of a given rank.

use crate::adapter::{Adapter, Term, Terms};
use crate::guard::{In, Out, carved_len, guarded};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::mem::size_of;
use phlora_core::{Kernel, Shape, combine_scratch};

/// What became of several adapters.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Combined {
    /// Size of what was written.
    pub struct_size: usize,
    /// Singular values above 0, those at the level of rounding included.
    pub rank: usize,
    /// ‖Σ w·s·B·A‖²_F.
    pub sum_squares: f64,
    /// Σσ² of the singular values that were kept.
    pub kept: f64,
    /// kept / sum_squares, at most 1; 1 for a sum of zero.
    pub energy: f64,
    /// Sweeps of the decomposition.
    pub sweeps: u32,
    /// 1 when it converged.
    pub converged: u32,
}

impl SizedStruct for Combined {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        sum_squares: 0.0,
        kept: 0.0,
        energy: 0.0,
        sweeps: 0,
        converged: 0,
    };
}

/// Floats of scratch for phlora_combine: adapters of `rows` × `cols` whose ranks add up to `ranks`, a result of `rank`;
/// 0 for sizes that exceed the address range. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_combine_len(rows: usize, cols: usize, ranks: usize, rank: usize) -> usize {
    // Each of the adapters has a rank of at least 1.
    let terms = carved_len::<Term<'_>>(ranks);
    let scratch = combine_scratch(Shape { rows, cols }, ranks, rank).count().ok();
    scratch.zip(terms).and_then(|(scratch, terms)| scratch.checked_add(terms)).unwrap_or(0)
}

/// Writes the best approximation of Σ w·s·B·A within a rank as factors B·A with √Σ in each, scale 1. One adapter alone is
/// truncated.
///
/// - `adapters`, `weights`, `count`: pointers to any number of adapters of one shape, and as many weights; NULL weights
///   stand for 1.
/// - `rank`: of the result, at least 1.
/// - `scratch`, `scratch_len`: at least phlora_combine_len floats; overwritten.
/// - `a`, `a_len`: lora_a, rank × cols, row-major.
/// - `b`, `b_len`: lora_b, rows × rank, row-major.
/// - `singular_values`, `singular_values_len`: at least rank elements, descending; more get those that were not kept,
///   then zeros.
/// - `combined`, `combined_size`: written on success; sizeof(phlora_combined).
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, RANK_ZERO,
/// FACTOR_LENGTH, NON_FINITE, EMPTY, ADAPTER_SHAPE, OUTPUT_LENGTH, MEMORY_TOO_SMALL, OUT_OF_RANGE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_combine(
    adapters: In<In<Adapter>>,
    weights: In<f32>,
    count: usize,
    rank: usize,
    scratch: Out<f32>,
    scratch_len: usize,
    a: Out<f32>,
    a_len: usize,
    b: Out<f32>,
    b_len: usize,
    singular_values: Out<f32>,
    singular_values_len: usize,
    combined: Out<Combined>,
    combined_size: usize,
) -> Status {
    guarded(|guard| {
        let scratch = guard.output(scratch, scratch_len)?;
        let (a, b) = (guard.output(a, a_len)?, guard.output(b, b_len)?);
        let singular_values = guard.output(singular_values, singular_values_len)?;
        let slot = guard.sized_slot(combined, combined_size)?;
        let terms = Terms::new(guard, adapters, weights, count)?;
        let (terms, scratch) = guard.carve(scratch, terms.len(), |guard, index| terms.get(guard, index))?;
        let found = phlora_core::combine(Kernel::detect(), terms, rank, a, b, singular_values, scratch)?;
        slot.write(Combined {
            struct_size: combined_size.min(size_of::<Combined>()),
            rank: found.rank,
            sum_squares: found.sum_squares,
            kept: found.kept,
            energy: found.energy(),
            sweeps: found.sweeps,
            converged: u32::from(found.converged),
        });
        Ok(())
    })
}
