//! Adapters and what uses them, as C describes both.

use crate::dtype::dtype;
use crate::guard::{Guard, In, Out, guarded};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_void;
use core::mem::size_of;
use phlora_core::{Kernel, Rows, Shape};

/// scale · B·A for one weight matrix: where its factors lie, in your memory or in a mapped file. The factors must stay
/// as they are while a call uses them; the struct itself is read at each call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Adapter {
    /// Size of this struct.
    pub struct_size: usize,
    /// Rows of the weight matrix: outputs.
    pub rows: usize,
    /// Columns of the weight matrix: inputs.
    pub cols: usize,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// lora_a, rank × cols, row-major, at any address.
    pub a: In<c_void>,
    /// Its bytes.
    pub a_bytes: usize,
    /// lora_b, rows × rank, row-major, at any address.
    pub b: In<c_void>,
    /// Its bytes.
    pub b_bytes: usize,
    /// The phlora_dtype of A.
    pub a_dtype: u32,
    /// The phlora_dtype of B.
    pub b_dtype: u32,
    /// What multiplies B·A: alpha/rank in PEFT.
    pub scale: f32,
    /// 0.
    pub reserved: u32,
}

impl SizedStruct for Adapter {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rows: 0,
        cols: 0,
        rank: 0,
        a: In::NULL,
        a_bytes: 0,
        b: In::NULL,
        b_bytes: 0,
        a_dtype: 0,
        b_dtype: 0,
        scale: 0.0,
        reserved: 0,
    };
}

/// One use of an adapter by a token. A token may have none, one or several.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Assignment {
    /// The token's place in the batch.
    pub token: u32,
    /// The adapter's place in the list of the call; for phlora_registry_pin, its id.
    pub adapter: u32,
    /// Multiplies the adapter's scale.
    pub weight: f32,
}

/// The core's view of what C describes; after all outputs have been named.
pub fn view<'c>(guard: &mut Guard<'c>, from: In<Adapter>) -> Result<phlora_core::Adapter<'c>, Status> {
    let adapter = guard.sized_among(from)?;
    let a = Rows::new(dtype(adapter.a_dtype)?, guard.input_among(adapter.a, adapter.a_bytes)?);
    let b = Rows::new(dtype(adapter.b_dtype)?, guard.input_among(adapter.b, adapter.b_bytes)?);
    let shape = Shape { rows: adapter.rows, cols: adapter.cols };
    Ok(phlora_core::Adapter::new(shape, adapter.rank, a, b, adapter.scale)?)
}

/// An adapter and its weight.
pub type Term<'c> = (phlora_core::Adapter<'c>, f32);

/// A list of adapters with as many weights; NULL weights stand for 1.
pub struct Terms<'c> {
    adapters: &'c [In<Adapter>],
    weights: &'c [f32],
}

impl<'c> Terms<'c> {
    /// What C names, after all outputs but those that hold the terms.
    pub fn new(
        guard: &mut Guard<'c>,
        adapters: In<In<Adapter>>,
        weights: In<f32>,
        count: usize,
    ) -> Result<Self, Status> {
        let adapters = guard.input(adapters, count)?;
        let weights = guard.input(weights, if weights.is_null() { 0 } else { count })?;
        Ok(Self { adapters, weights })
    }

    pub const fn len(&self) -> usize {
        self.adapters.len()
    }

    /// Term `index`.
    pub fn get(&self, guard: &mut Guard<'c>, index: usize) -> Result<Term<'c>, Status> {
        let &adapter = self.adapters.get(index).ok_or(Status::Internal)?;
        Ok((view(guard, adapter)?, self.weights.get(index).copied().unwrap_or(1.0)))
    }
}

/// Checks an adapter as every call does, and that all entries of its factors are numbers, which no other call but
/// phlora_merge_init and phlora_combine does: once, before it is used.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, RANK_ZERO, FACTOR_LENGTH,
/// NON_FINITE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_adapter_check(adapter: In<Adapter>) -> Status {
    guarded(|guard| Ok(view(guard, adapter)?.check_finite(Kernel::detect())?))
}

/// Orders assignments by adapter and token, as phlora_batch_init takes them: once per batch.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, TOO_LARGE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_group(assignments: Out<Assignment>, assignments_len: usize) -> Status {
    guarded(|guard| {
        phlora_core::Assignment::group(guard.assignments_mut(assignments, assignments_len)?);
        Ok(())
    })
}
