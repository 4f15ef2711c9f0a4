//! The row ranges of a pass, for programs with threads of their own.
//!
//! While a pass is split, its parts are all that reaches the extraction's memory: the extraction itself is refused
//! until phlora_end_pass joins it again, so that no two threads write to one place.

use crate::dtype::dtype;
use crate::guard::{In, Out, StatePointer, guarded};
use crate::state::State;
use crate::status::Status;
use core::ffi::c_void;
use core::ops::Range;
use phlora_core::{Part, Rows};

/// The most parts of a pass.
pub const MAX_PARTS: usize = 8;

/// One row range of a pass that phlora_split has split.
#[derive(Debug)]
pub struct PartState {
    part: Part<'static>,
    /// The extraction's memory.
    memory: Range<usize>,
}

/// Splits the pass that is wanted into row ranges, each of which a thread of its own may feed, in the place of
/// phlora_push. phlora_end_pass, when all threads are done, ends the split as well; until then every other call on
/// the extraction is refused. The factors do not depend on which thread does what, not in a single bit.
///
/// - `parts`, `parts_len`: set to the parts, in the order of their rows; room for PHLORA_MAX_PARTS.
/// - `count`: set to their number, at most the option `parts`; a mode that takes all rows in sequence has 1.
///
/// The thread that uses the extraction.
/// Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, NOT_STARTED, OUTPUT_LENGTH, OUT_OF_ORDER (no pass is wanted, or
/// it is split already).
#[unsafe(no_mangle)]
pub extern "C" fn phlora_split(
    extractor: Out<State>,
    parts: Out<StatePointer<PartState>>,
    parts_len: usize,
    count: Out<usize>,
) -> Status {
    guarded(|guard| {
        let (state, memory) = guard.resume_whole(extractor)?;
        let to = guard.pointers(parts, parts_len)?;
        let count = guard.slot(count)?;
        if to.len() < MAX_PARTS {
            return Err(Status::OutputLength);
        }
        let extractor = state.extractor.as_mut().ok_or(Status::OutOfOrder)?;
        let mut placed = 0;
        for ((part, slot), to) in extractor.parts().zip(&mut state.parts).zip(to) {
            to.write(slot.fill(PartState { part: guard.keep(part), memory: memory.clone() }));
            placed += 1;
        }
        if placed == 0 {
            return Err(Status::OutOfOrder);
        }
        count.write(placed);
        guard.split();
        Ok(())
    })
}

/// The rows of the matrix that belong to a part.
///
/// - `first_row`, `row_count`: set to the range.
///
/// The thread that uses the part. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, NOT_STARTED.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_part_rows(
    part: Out<PartState>,
    first_row: Out<usize>,
    row_count: Out<usize>,
) -> Status {
    guarded(|guard| {
        let part = guard.resume(part)?;
        guard.widen(&part.memory);
        let (first_row, row_count) = (guard.slot(first_row)?, guard.slot(row_count)?);
        let rows = part.part.rows();
        first_row.write(rows.start);
        row_count.write(rows.len());
        Ok(())
    })
}

/// The next rows of a part: as phlora_push. One thread at a time may use a part; different parts may be used at the
/// same time.
///
/// Returns what phlora_push returns; NOT_STARTED also after phlora_end_pass, which ends all parts.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_part_push(
    part: Out<PartState>,
    base: In<c_void>,
    base_bytes: usize,
    base_dtype: u32,
    tuned: In<c_void>,
    tuned_bytes: usize,
    tuned_dtype: u32,
) -> Status {
    guarded(|guard| {
        let part = guard.resume(part)?;
        guard.widen(&part.memory);
        let base = Rows::new(dtype(base_dtype)?, guard.input_bytes(base, base_bytes)?);
        let tuned = Rows::new(dtype(tuned_dtype)?, guard.input_bytes(tuned, tuned_bytes)?);
        Ok(part.part.push(base, tuned)?)
    })
}
