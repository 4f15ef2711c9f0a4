//! y += s·B·(A·x) beside a base layer, with one adapter for all tokens.

use crate::adapter::{Adapter, view};
use crate::dtype::Dtype;
use crate::guard::{Guard, In, Out, guarded};
use crate::status::Status;
use core::ffi::c_void;
use phlora_core::{Apply, Inputs, Kernel, Shape};

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

/// Both steps on one thread, one adapter for all tokens.
///
/// - `adapter`: the adapter; its shape is that of the layer.
/// - `tokens`: vectors of the batch, at least 1.
/// - `x`, `x_bytes`, `x_stride`, `x_dtype`: the layer's inputs: token t's begins t · x_stride elements in;
///   PHLORA_DTYPE_F32, aligned, or PHLORA_DTYPE_F16.
/// - `y`, `y_bytes`, `y_stride`, `y_dtype`: the layer's outputs, added to: token t's begins t · y_stride elements in;
///   PHLORA_DTYPE_F32 or PHLORA_DTYPE_F16 (rounded once per adapter), aligned.
/// - `scratch`, `scratch_len`: at least phlora_forward_len floats; overwritten.
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
