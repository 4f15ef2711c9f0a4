//! A checked extraction: what it will do, and in how much memory.

use crate::guard::{In, Out, guarded};
use crate::options::Options;
use crate::sized::SizedStruct;
use crate::state;
use crate::status::Status;
use core::mem::size_of;

/// What an extraction will do and what it needs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Size of what was written.
    pub struct_size: usize,
    /// Bytes of memory that phlora_start needs, aligned to PHLORA_ALIGNMENT.
    pub memory_bytes: usize,
    /// Rank of the factors: the one asked for, at most min(rows, cols). Also the number of singular values.
    pub rank: usize,
    /// Elements of the factor A: rank × cols.
    pub a_len: usize,
    /// Elements of the factor B: rows × rank.
    pub b_len: usize,
    /// The phlora_mode chosen, never PHLORA_MODE_AUTO.
    pub mode: u32,
    /// Most reads of the matrix; one more happens where the difference is so large or so small that it has to
    /// be scaled.
    pub max_reads: u32,
}

impl SizedStruct for Plan {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        memory_bytes: 0,
        rank: 0,
        a_len: 0,
        b_len: 0,
        mode: 0,
        max_reads: 0,
    };
}

/// Checks a shape and its options and says what the extraction needs.
///
/// - `options`: see phlora_options.
/// - `rows`, `cols`: shape of the weight, stored row after row (a linear layer has rows = out, cols = in).
/// - `plan`, `plan_size`: written on success; sizeof(phlora_plan).
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, UNKNOWN_VALUE, RANK_ZERO, TOO_LARGE,
/// TOO_FEW_READS, MEMORY_TOO_SMALL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_plan_init(
    options: In<Options>,
    rows: usize,
    cols: usize,
    plan: Out<Plan>,
    plan_size: usize,
) -> Status {
    guarded(|guard| {
        let options = guard.sized(options)?;
        let slot = guard.sized_slot(plan, plan_size)?;
        let plan = state::plan(&options, rows, cols)?;
        let product = |n: usize| plan.rank().checked_mul(n).ok_or(Status::TooLarge);
        slot.write(Plan {
            struct_size: plan_size.min(size_of::<Plan>()),
            memory_bytes: state::memory_bytes(&plan)?,
            rank: plan.rank(),
            a_len: product(cols)?,
            b_len: product(rows)?,
            mode: state::mode_number(plan.mode()) as u32,
            max_reads: plan.max_reads(),
        });
        Ok(())
    })
}
