//! W += Σ w·s·B·A in the weight's own storage format.

use crate::adapter::{Adapter, Term, Terms};
use crate::dtype::dtype;
use crate::guard::{In, Out, StatePointer, guarded, list_bytes};
use crate::status::Status;
use core::ffi::c_void;
use phlora_core::{Kernel, Merge, Rows, Shape, merge_scratch};

/// Adapters with their weights, ready to be merged, in the caller's memory.
#[derive(Debug)]
pub struct MergeState {
    merge: Merge<'static>,
    /// Decoded factors A.
    prepared: &'static [f32],
}

/// Bytes of memory for the merge of `count` adapters whose ranks add up to `ranks` into a weight of `cols` columns; 0 for
/// more than the address range has. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_bytes(cols: usize, ranks: usize, count: usize) -> usize {
    let prepared = merge_scratch(Shape { rows: 0, cols }, ranks).0.count().ok();
    prepared.and_then(|prepared| list_bytes::<MergeState, Term<'_>>(count, prepared)).unwrap_or(0)
}

/// Checks adapters once, reads their factors once, checks that they are numbers, and decodes what every row needs: for
/// phlora_merge_rows from any number of threads. Nothing has to be freed: after the last call the memory is yours again.
/// Until then the factors must stay as they are; the list and its structs are read here alone.
///
/// - `adapters`, `weights`, `count`: pointers to any number of adapters of one shape, and as many weights; NULL weights
///   stand for 1.
/// - `memory`, `memory_bytes`: at least phlora_merge_bytes, aligned to PHLORA_ALIGNMENT.
/// - `merge`: set to the merge.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, MEMORY_TOO_SMALL,
/// RANK_ZERO, FACTOR_LENGTH, NON_FINITE (a factor, a scale or a weight), EMPTY, ADAPTER_SHAPE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_init(
    adapters: In<In<Adapter>>,
    weights: In<f32>,
    count: usize,
    memory: Out<c_void>,
    memory_bytes: usize,
    merge: Out<StatePointer<MergeState>>,
) -> Status {
    guarded(|guard| {
        let slot = guard.slot(merge)?;
        let terms = Terms::new(guard, adapters, weights, count)?;
        let (mut cols, mut ranks) = (0, 0_usize);
        for index in 0..terms.len() {
            let (adapter, _) = terms.get(guard, index)?;
            cols = adapter.shape().cols;
            ranks = ranks.checked_add(adapter.rank()).ok_or(Status::TooLarge)?;
        }
        let prepared_len = merge_scratch(Shape { rows: 0, cols }, ranks).0.count()?;
        slot.write(guard.place_list(
            memory,
            memory_bytes,
            (terms.len(), prepared_len),
            |guard, index| {
                let (adapter, weight) = terms.get(guard, index)?;
                Ok((guard.keep_adapter(adapter), weight))
            },
            |terms, prepared| {
                let merge = Merge::new(Kernel::detect(), terms)?;
                merge.prepare(prepared)?;
                Ok(MergeState { merge, prepared })
            },
        )?);
        Ok(())
    })
}

/// Floats of scratch that each call of phlora_merge_rows needs for itself; 0 for what is no merge. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_scratch_len(merge: In<MergeState>) -> usize {
    let mut len = 0;
    guarded(|guard| {
        len = guard.look(merge)?.merge.scratch_len();
        Ok(())
    });
    len
}

/// Merges rows into a weight: W += Σ w·s·B·A, decoded to float, added once, rounded to the weight's format. Row ranges
/// are independent: any thread may take any of them.
///
/// To take it back, merge with negated weights: exact up to two roundings in formats without blocks; or keep a stash,
/// which phlora_merge_toggle brings the very bits back with.
///
/// - `first_row`: the first row of the matrix in this call.
/// - `rows`, `rows_bytes`, `rows_dtype`: whole rows, changed in place; a phlora_dtype that phlora_encode writes.
/// - `stash`: NULL, or as many bytes as the rows; written.
/// - `scratch`, `scratch_len`: at least phlora_merge_scratch_len; overwritten.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, UNKNOWN_VALUE, NOT_STARTED, NOT_ENCODED,
/// NOT_WHOLE_ROWS, TOO_MANY_ROWS, MEMORY_TOO_SMALL; unless OK, the rows are as they were.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_rows(
    merge: In<MergeState>,
    first_row: usize,
    rows: Out<c_void>,
    rows_bytes: usize,
    rows_dtype: u32,
    stash: Out<c_void>,
    scratch: Out<f32>,
    scratch_len: usize,
) -> Status {
    guarded(|guard| {
        let state = guard.look(merge)?;
        let dtype = dtype(rows_dtype)?;
        let rows = guard.output_bytes(rows, rows_bytes)?;
        let stash = if stash.is_null() { None } else { Some(guard.output_bytes(stash, rows_bytes)?) };
        let scratch = guard.output(scratch, scratch_len)?;
        Ok(state.merge.rows(state.prepared, first_row, dtype, rows, stash, scratch)?)
    })
}

/// Merges rows into another buffer, and into another format where wanted.
///
/// - `first_row`: as for phlora_merge_rows.
/// - `from`, `from_bytes`, `from_dtype`: whole rows in any phlora_dtype.
/// - `to_dtype`: a phlora_dtype that phlora_encode writes.
/// - `to`, `to_bytes`: exactly the bytes of as many rows; may not overlap anything else.
/// - `scratch`, `scratch_len`: at least phlora_merge_scratch_len; overwritten.
///
/// Any thread. Returns what phlora_merge_rows returns, OUTPUT_LENGTH.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_rows_to(
    merge: In<MergeState>,
    first_row: usize,
    from: In<c_void>,
    from_bytes: usize,
    from_dtype: u32,
    to_dtype: u32,
    to: Out<c_void>,
    to_bytes: usize,
    scratch: Out<f32>,
    scratch_len: usize,
) -> Status {
    guarded(|guard| {
        let state = guard.look(merge)?;
        let (from_dtype, to_dtype) = (dtype(from_dtype)?, dtype(to_dtype)?);
        let to = guard.output_bytes(to, to_bytes)?;
        let scratch = guard.output(scratch, scratch_len)?;
        let from = Rows::new(from_dtype, guard.input_bytes(from, from_bytes)?);
        Ok(state.merge.rows_to(state.prepared, first_row, from, to_dtype, to, scratch)?)
    })
}

/// Takes a merge back, bit by bit, with the stash that it has left; a second time puts it in again.
///
/// - `stash`: as phlora_merge_rows has left it.
/// - `rows`: the same rows.
/// - `bytes`: of each.
///
/// Any thread. Returns OK, NULL_POINTER, OVERLAP, TOO_LARGE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_toggle(stash: In<c_void>, rows: Out<c_void>, bytes: usize) -> Status {
    guarded(|guard| {
        let stash = guard.input_bytes(stash, bytes)?;
        phlora_core::toggle(guard.output_bytes(rows, bytes)?, stash);
        Ok(())
    })
}
