//! y += s·B·(A·x) beside a base layer, for a batch whose tokens name their adapters.

use crate::adapter::{Adapter, Assignment, MAX_ADAPTERS, view};
use crate::dtype::Dtype;
use crate::guard::{Activations, Guard, In, Out, guarded};
use crate::status::Status;
use core::ffi::c_void;
use phlora_core::{Apply, Inputs, Kernel, Shape, Slice};

type Views<'c> = [Option<phlora_core::Adapter<'c>>; MAX_ADAPTERS];

/// What the calls of one layer and batch have in common.
struct Batch {
    rows: usize,
    cols: usize,
    tokens: usize,
    adapters: In<In<Adapter>>,
    adapters_len: usize,
    assignments: In<Assignment>,
    assignments_len: usize,
}

impl Batch {
    /// Runs `call` on the core's view of it; after all outputs have been named.
    fn with<'c, R>(
        &self,
        guard: &mut Guard<'c>,
        call: impl FnOnce(&Apply<'_>) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let shape = Shape { rows: self.rows, cols: self.cols };
        let (kernel, tokens) = (Kernel::detect(), self.tokens);
        if self.adapters_len > MAX_ADAPTERS {
            return Err(Status::TooManyAdapters);
        }
        let adapters = guard.input(self.adapters, self.adapters_len)?;
        let assignments = guard.assignments(self.assignments, self.assignments_len)?;
        let mut views: Views<'c> = [None; MAX_ADAPTERS];
        for (to, &adapter) in views.iter_mut().zip(adapters) {
            if !adapter.is_null() {
                *to = Some(view(guard, adapter)?);
            }
        }
        let views = views.get(..adapters.len()).unwrap_or_default();
        match views {
            [Some(adapter)] if assignments.is_empty() => {
                if adapter.shape() != shape {
                    return Err(Status::AdapterShape);
                }
                call(&Apply::forward(kernel, *adapter, tokens)?)
            }
            _ => call(&Apply::routed(kernel, shape, tokens, assignments, views)?),
        }
    }
}

/// Inputs in f32 or f16.
pub fn inputs<'c>(
    guard: &mut Guard<'c>,
    x: In<c_void>,
    bytes: usize,
    stride: usize,
    dtype: u32,
) -> Result<Inputs<'c>, Status> {
    if half(dtype)? {
        return Ok(Inputs::f16(guard.input_bytes(x, bytes)?, stride));
    }
    Ok(Inputs::f32(guard.input(x.as_f32(), bytes / 4)?, stride))
}

/// Whether activations are f16; any other format than f32 is refused.
pub fn half(dtype: u32) -> Result<bool, Status> {
    match dtype {
        x if x == Dtype::F32 as u32 => Ok(false),
        x if x == Dtype::F16 as u32 => Ok(true),
        _ => Err(Status::UnknownValue),
    }
}

/// What a layer and batch need without a phlora_batch, where each call says and checks everything: `t_len` floats, which all slices share, and `scratch_len` floats for each slice.
///
/// - `rows`, `cols`: shape of the layer.
/// - `tokens`: vectors of the batch, at least 1.
/// - `adapters`, `adapters_len`: pointers to at most PHLORA_MAX_ADAPTERS adapters; NULL for one that leaves this layer
///   alone.
/// - `assignments`, `assignments_len`: who uses what, as phlora_group or phlora_registry_pin has ordered it; NULL and 0
///   with one adapter: all tokens use it.
/// - `t_len`, `scratch_len`: set to the lengths.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, RANK_ZERO,
/// FACTOR_LENGTH, NON_FINITE (a scale or a weight), EMPTY, TOO_MANY_ADAPTERS, UNKNOWN_TOKEN, UNKNOWN_ADAPTER,
/// NOT_GROUPED, ADAPTER_SHAPE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_route_size(
    rows: usize,
    cols: usize,
    tokens: usize,
    adapters: In<In<Adapter>>,
    adapters_len: usize,
    assignments: In<Assignment>,
    assignments_len: usize,
    t_len: Out<usize>,
    scratch_len: Out<usize>,
) -> Status {
    let batch = Batch { rows, cols, tokens, adapters, adapters_len, assignments, assignments_len };
    guarded(|guard| {
        let (t_len, scratch_len) = (guard.slot(t_len)?, guard.slot(scratch_len)?);
        let lens = batch.with(guard, |apply| Ok((apply.t_len(), apply.scratch_len())))?;
        t_len.write(lens.0);
        scratch_len.write(lens.1);
        Ok(())
    })
}

/// The first step: t = s·A·x, slice `ith` of `nth` (0 of 1 for all of it). Slices may run at the same time, each with
/// scratch of its own; between the last of them and the first phlora_route_up you have a barrier, or else each thread
/// computes all of t for itself: 0 of 1, into a `t` of its own.
///
/// - `rows`, `cols`: shape of the layer.
/// - `tokens`: vectors of the batch, at least 1.
/// - `adapters`, `adapters_len`: pointers to at most PHLORA_MAX_ADAPTERS adapters; NULL for one that leaves this layer
///   alone.
/// - `assignments`, `assignments_len`: who uses what, as phlora_group or phlora_registry_pin has ordered it; NULL and 0
///   with one adapter: all tokens use it.
/// - `x`, `x_bytes`, `x_stride`, `x_dtype`: token t's input begins t · x_stride elements in; PHLORA_DTYPE_F32, aligned, or
///   PHLORA_DTYPE_F16.
/// - `t`, `t_len`: exactly the length that phlora_route_size gives; the slice's part is written.
/// - `scratch`, `scratch_len`: at least the length that phlora_route_size gives; overwritten.
///
/// Any thread. Returns what phlora_route_size returns, SLICE_BOUNDS, VECTOR_LENGTH, OUTPUT_LENGTH, MEMORY_TOO_SMALL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_route_down(
    rows: usize,
    cols: usize,
    tokens: usize,
    adapters: In<In<Adapter>>,
    adapters_len: usize,
    assignments: In<Assignment>,
    assignments_len: usize,
    x: In<c_void>,
    x_bytes: usize,
    x_stride: usize,
    x_dtype: u32,
    ith: usize,
    nth: usize,
    t: Out<f32>,
    t_len: usize,
    scratch: Out<f32>,
    scratch_len: usize,
) -> Status {
    let batch = Batch { rows, cols, tokens, adapters, adapters_len, assignments, assignments_len };
    guarded(|guard| {
        let slice = Slice::new(ith, nth)?;
        // All of t is claimed, so that nothing else of this call lies in it; the slice's part is written.
        let x = inputs(guard, x, x_bytes, x_stride, x_dtype)?;
        let scratch = guard.output(scratch, scratch_len)?;
        let t = guard.later(t, t_len)?;
        batch.with(guard, |apply| {
            if t_len != apply.t_len() {
                return Err(Status::OutputLength);
            }
            let t = t.part(apply.t_range(slice))?;
            Ok(apply.down(slice, x, t, scratch)?)
        })
    })
}

/// The second step: y += B·t, slice `ith` of `nth`; see phlora_route_down.
///
/// - `rows`, `cols`: shape of the layer.
/// - `tokens`: vectors of the batch, at least 1.
/// - `adapters`, `adapters_len`: pointers to at most PHLORA_MAX_ADAPTERS adapters; NULL for one that leaves this layer
///   alone.
/// - `assignments`, `assignments_len`: who uses what, as phlora_group or phlora_registry_pin has ordered it; NULL and 0
///   with one adapter: all tokens use it.
/// - `t`, `t_len`: as all slices of phlora_route_down have left it.
/// - `y`, `y_bytes`, `y_stride`, `y_dtype`: the layer's outputs, added to: token t's begins t · y_stride elements in;
///   PHLORA_DTYPE_F32 or PHLORA_DTYPE_F16 (rounded once per adapter), aligned.
/// - `scratch`, `scratch_len`: at least the length that phlora_route_size gives; overwritten.
///
/// Any thread. Returns what phlora_route_size returns, SLICE_BOUNDS, VECTOR_LENGTH, OUTPUT_LENGTH, MEMORY_TOO_SMALL;
/// unless OK, y is as it was.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_route_up(
    rows: usize,
    cols: usize,
    tokens: usize,
    adapters: In<In<Adapter>>,
    adapters_len: usize,
    assignments: In<Assignment>,
    assignments_len: usize,
    t: In<f32>,
    t_len: usize,
    ith: usize,
    nth: usize,
    y: Out<c_void>,
    y_bytes: usize,
    y_stride: usize,
    y_dtype: u32,
    scratch: Out<f32>,
    scratch_len: usize,
) -> Status {
    let batch = Batch { rows, cols, tokens, adapters, adapters_len, assignments, assignments_len };
    guarded(|guard| {
        let slice = Slice::new(ith, nth)?;
        let half = half(y_dtype)?;
        let written = slice.part(rows);
        let mut y: Activations<'_> = guard.activations(y, y_bytes, half, y_stride, tokens, written)?;
        let scratch = guard.output(scratch, scratch_len)?;
        let t = guard.input(t, t_len)?;
        batch.with(guard, |apply| Ok(apply.up(slice, t, &mut y, scratch)?))
    })
}

/// Both steps on one thread, one adapter for all tokens.
///
/// - `adapter`: the adapter; its shape is that of the layer.
/// - `tokens`: vectors of the batch, at least 1.
/// - `x` to `x_dtype`: as for phlora_route_down.
/// - `y` to `y_dtype`: as for phlora_route_up.
/// - `scratch`, `scratch_len`: at least t_len + scratch_len floats of phlora_route_size; phlora_forward_len gives the sum.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, RANK_ZERO,
/// FACTOR_LENGTH, NON_FINITE (the scale), EMPTY, VECTOR_LENGTH, MEMORY_TOO_SMALL; unless OK, y is as it was.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_forward(
    adapter: In<Adapter>,
    tokens: usize,
    x: In<c_void>,
    x_bytes: usize,
    x_stride: usize,
    x_dtype: u32,
    y: Out<c_void>,
    y_bytes: usize,
    y_stride: usize,
    y_dtype: u32,
    scratch: Out<f32>,
    scratch_len: usize,
) -> Status {
    guarded(|guard| {
        let half = half(y_dtype)?;
        let mut y = guard.activations(y, y_bytes, half, y_stride, tokens, 0..usize::MAX)?;
        let scratch = guard.output(scratch, scratch_len)?;
        let x = inputs(guard, x, x_bytes, x_stride, x_dtype)?;
        let adapter = view(guard, adapter)?;
        Ok(Apply::forward(Kernel::detect(), adapter, tokens)?.run(x, &mut y, scratch)?)
    })
}

/// Floats of scratch that phlora_forward needs, or 0 for sizes that exceed the address range, a rank of 0 and no token.
/// The more tokens, the more scratch, so one for the most tokens does for all. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_forward_len(rows: usize, cols: usize, rank: usize, tokens: usize) -> usize {
    if rank == 0 || tokens == 0 {
        return 0;
    }
    let (t, scratch) = phlora_core::apply_scratch(Shape { rows, cols }, rank, tokens);
    t.and(scratch).count().unwrap_or(0)
}
