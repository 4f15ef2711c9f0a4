//! W += Σ w·s·B·A in the weight's own storage format.

use crate::adapter::{Adapter, terms};
use crate::dtype::dtype;
use crate::guard::{In, Out, guarded};
use crate::status::Status;
use core::ffi::c_void;
use phlora_core::{Kernel, Merge, Rows};

/// What a merge needs: `prepared_len` floats, which all row ranges share, and `scratch_len` floats for each call.
///
/// - `adapters`, `weights`, `count`: pointers to at most PHLORA_MAX_ADAPTERS adapters of one shape, and as many weights;
///   NULL weights stand for 1.
/// - `prepared_len`, `scratch_len`: set to the lengths.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, RANK_ZERO,
/// FACTOR_LENGTH, NON_FINITE (a scale or a weight), EMPTY, TOO_MANY_ADAPTERS, ADAPTER_SHAPE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_size(
    adapters: In<In<Adapter>>,
    weights: In<f32>,
    count: usize,
    prepared_len: Out<usize>,
    scratch_len: Out<usize>,
) -> Status {
    guarded(|guard| {
        let (prepared_len, scratch_len) = (guard.slot(prepared_len)?, guard.slot(scratch_len)?);
        let terms = terms(guard, adapters, weights, count)?;
        let merge = Merge::new(Kernel::detect(), &terms)?;
        prepared_len.write(merge.prepared_len());
        scratch_len.write(merge.scratch_len());
        Ok(())
    })
}

/// Reads the factors once, checks that they are numbers, and decodes what every row needs.
///
/// - `adapters`, `weights`, `count`: as for phlora_merge_size; the same for all calls of a merge.
/// - `prepared`, `prepared_len`: exactly the length that phlora_merge_size gives; written.
///
/// Any thread. Returns what phlora_merge_size returns, NON_FINITE also for a factor, OUTPUT_LENGTH.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_prepare(
    adapters: In<In<Adapter>>,
    weights: In<f32>,
    count: usize,
    prepared: Out<f32>,
    prepared_len: usize,
) -> Status {
    guarded(|guard| {
        let prepared = guard.output(prepared, prepared_len)?;
        let terms = terms(guard, adapters, weights, count)?;
        Ok(Merge::new(Kernel::detect(), &terms)?.prepare(prepared)?)
    })
}

/// Merges rows into a weight: W += Σ w·s·B·A, decoded to float, added once, rounded to the weight's format. Row ranges
/// are independent: any thread may take any of them.
///
/// To take it back, merge with negated weights: exact up to two roundings in formats without blocks; or keep a stash,
/// which phlora_merge_toggle brings the very bits back with.
///
/// - `adapters`, `weights`, `count`: as for phlora_merge_size.
/// - `prepared`, `prepared_len`: as phlora_merge_prepare has left it.
/// - `first_row`: the first row of the matrix in this call.
/// - `rows`, `rows_bytes`, `rows_dtype`: whole rows, changed in place; a phlora_dtype that phlora_encode writes.
/// - `stash`, `stash_bytes`: NULL and 0, or as many bytes as the rows; written.
/// - `scratch`, `scratch_len`: at least the length that phlora_merge_size gives; overwritten.
///
/// Any thread. Returns what phlora_merge_size returns, NOT_ENCODED, NOT_WHOLE_ROWS, TOO_MANY_ROWS, OUTPUT_LENGTH,
/// MEMORY_TOO_SMALL; unless OK, the rows are as they were.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_rows(
    adapters: In<In<Adapter>>,
    weights: In<f32>,
    count: usize,
    prepared: In<f32>,
    prepared_len: usize,
    first_row: usize,
    rows: Out<c_void>,
    rows_bytes: usize,
    rows_dtype: u32,
    stash: Out<c_void>,
    stash_bytes: usize,
    scratch: Out<f32>,
    scratch_len: usize,
) -> Status {
    guarded(|guard| {
        let dtype = dtype(rows_dtype)?;
        let rows = guard.output_bytes(rows, rows_bytes)?;
        let stash = guard.output_bytes(stash, stash_bytes)?;
        let scratch = guard.output(scratch, scratch_len)?;
        let prepared = guard.input(prepared, prepared_len)?;
        let terms = terms(guard, adapters, weights, count)?;
        let stash = (!stash.is_empty()).then_some(stash);
        Ok(Merge::new(Kernel::detect(), &terms)?.rows(prepared, first_row, dtype, rows, stash, scratch)?)
    })
}

/// Merges rows into another buffer, and into another format where wanted.
///
/// - `adapters` to `first_row`: as for phlora_merge_rows.
/// - `from`, `from_bytes`, `from_dtype`: whole rows in any phlora_dtype.
/// - `to_dtype`: a phlora_dtype that phlora_encode writes.
/// - `to`, `to_bytes`: exactly the bytes of as many rows; may not overlap anything else.
/// - `scratch`, `scratch_len`: at least the length that phlora_merge_size gives; overwritten.
///
/// Any thread. Returns what phlora_merge_rows returns.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_merge_rows_to(
    adapters: In<In<Adapter>>,
    weights: In<f32>,
    count: usize,
    prepared: In<f32>,
    prepared_len: usize,
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
        let (from_dtype, to_dtype) = (dtype(from_dtype)?, dtype(to_dtype)?);
        let to = guard.output_bytes(to, to_bytes)?;
        let scratch = guard.output(scratch, scratch_len)?;
        let from = Rows::new(from_dtype, guard.input_bytes(from, from_bytes)?);
        let prepared = guard.input(prepared, prepared_len)?;
        let terms = terms(guard, adapters, weights, count)?;
        let merge = Merge::new(Kernel::detect(), &terms)?;
        Ok(merge.rows_to(prepared, first_row, from, to_dtype, to, scratch)?)
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
