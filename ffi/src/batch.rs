//! A layer's batch, checked once: what the calls of all slices then refer to.

use crate::adapter::{Adapter, Assignment, view};
use crate::apply::{half, inputs};
use crate::guard::{Guard, In, Out, StatePointer, guarded, list_bytes};
use crate::status::Status;
use core::ffi::c_void;
use core::ops::Range;
use phlora_core::{Apply, Inputs, Kernel, Shape, Slice};

/// Floats of a cache line: what slices write begins at one.
const LINE: usize = 16;

/// A batch in the caller's memory.
#[derive(Debug)]
pub struct BatchState {
    apply: Apply<'static>,
    views: &'static [View],
    assignments: Range<usize>,
    /// From the first to the last address of what is only read.
    bounds: Range<usize>,
    /// Floats of t, and of the scratch of a slice, in whole cache lines.
    lens: [usize; 2],
}

type View = Option<phlora_core::Adapter<'static>>;

/// The inputs of a layer: one vector for each token of a batch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct InputVectors {
    /// Token t's vector begins t · stride elements in.
    pub data: In<c_void>,
    /// Bytes of all.
    pub bytes: usize,
    /// Elements from one vector to the next.
    pub stride: usize,
    /// PHLORA_DTYPE_F32, aligned, or PHLORA_DTYPE_F16.
    pub dtype: u32,
    /// 0.
    pub reserved: u32,
}

/// The outputs of a layer, which are added to: one vector for each token of a batch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OutputVectors {
    /// Token t's vector begins t · stride elements in.
    pub data: Out<c_void>,
    /// Bytes of all.
    pub bytes: usize,
    /// Elements from one vector to the next.
    pub stride: usize,
    /// PHLORA_DTYPE_F32 or PHLORA_DTYPE_F16 (rounded once per adapter), aligned.
    pub dtype: u32,
    /// 0.
    pub reserved: u32,
}

impl BatchState {
    fn new(apply: Apply<'static>, views: &'static [View], assignments: Range<usize>) -> Result<Self, Status> {
        let line = |len: usize| len.checked_next_multiple_of(LINE).ok_or(Status::TooLarge);
        let lens = [line(apply.t_len())?, line(apply.scratch_len())?];
        let mut batch = Self { apply, views, assignments: assignments.clone(), bounds: assignments, lens };
        for factor in batch.factors() {
            let bounds = &mut batch.bounds;
            *bounds = if bounds.start == bounds.end {
                factor
            } else {
                bounds.start.min(factor.start)..bounds.end.max(factor.end)
            };
        }
        Ok(batch)
    }

    /// Where the factors are.
    fn factors(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let views: &'static [View] = self.views;
        views.iter().flatten().flat_map(|adapter| adapter.factors().map(|rows| addresses(rows.bytes)))
    }

    /// Floats for `slices` slices.
    fn work_len(&self, slices: usize) -> Option<usize> {
        slices.checked_mul(self.lens[1])?.checked_add(self.lens[0])
    }

    /// The scratch of slice `ith` in the work.
    const fn scratch(&self, ith: usize) -> Range<usize> {
        let start = self.lens[0] + ith * self.lens[1];
        start..start + self.lens[1]
    }

    /// Refuses outputs in what is read; after all outputs have been named.
    fn check(&self, guard: &Guard<'_>) -> Result<(), Status> {
        let overlaps = guard.writes_in(&self.bounds)
            && (guard.writes_in(&self.assignments) || self.factors().any(|factor| guard.writes_in(&factor)));
        if overlaps { Err(Status::Overlap) } else { Ok(()) }
    }

    /// A slice, if the work has room for all of them.
    fn slice(&self, ith: usize, nth: usize, work_len: usize) -> Result<Slice, Status> {
        let slice = Slice::new(ith, nth)?;
        let needed = self.work_len(nth).ok_or(Status::TooLarge)?;
        if work_len < needed { Err(Status::MemoryTooSmall) } else { Ok(slice) }
    }
}

fn addresses<T>(list: &[T]) -> Range<usize> {
    let start = list.as_ptr().addr();
    start..start + size_of_val(list)
}

/// Inputs as C describes them in a struct.
fn vectors<'c>(guard: &mut Guard<'c>, x: In<InputVectors>) -> Result<Inputs<'c>, Status> {
    let x = *guard.input(x, 1)?.first().ok_or(Status::Internal)?;
    inputs(guard, x.data, x.bytes, x.stride, x.dtype)
}

/// Bytes of memory for a batch of `adapters_len` adapters; 0 for more than the address range has. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_batch_bytes(adapters_len: usize) -> usize {
    list_bytes::<BatchState, View>(adapters_len, 0).unwrap_or(0)
}

/// Checks a layer's batch once, for calls with few arguments from any number of threads. Nothing has to be freed: after
/// the last call its memory is yours again. Until then the factors and the assignments must stay as they are; the list of
/// adapters and its structs are read here alone.
///
/// - `rows`, `cols`: shape of the layer.
/// - `tokens`: vectors of the batch, at least 1.
/// - `adapters`, `adapters_len`: pointers to any number of adapters; NULL for one that leaves this layer alone.
/// - `assignments`, `assignments_len`: who uses what, as phlora_group or phlora_registry_pin has ordered it; NULL and 0
///   with one adapter: all tokens use it.
/// - `memory`, `memory_bytes`: at least phlora_batch_bytes(adapters_len), aligned to PHLORA_ALIGNMENT.
/// - `batch`: set to the batch.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, STRUCT_SIZE, UNKNOWN_VALUE, MEMORY_TOO_SMALL,
/// RANK_ZERO, FACTOR_LENGTH, NON_FINITE (a scale or a weight), EMPTY, UNKNOWN_TOKEN, UNKNOWN_ADAPTER, NOT_GROUPED,
/// ADAPTER_SHAPE.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_batch_init(
    rows: usize,
    cols: usize,
    tokens: usize,
    adapters: In<In<Adapter>>,
    adapters_len: usize,
    assignments: In<Assignment>,
    assignments_len: usize,
    memory: Out<c_void>,
    memory_bytes: usize,
    batch: Out<StatePointer<BatchState>>,
) -> Status {
    guarded(|guard| {
        let slot = guard.slot(batch)?;
        let list = guard.input(adapters, adapters_len)?;
        let uses = guard.assignments(assignments, assignments_len)?;
        let uses = guard.keep_assignments(uses);
        let (shape, kernel) = (Shape { rows, cols }, Kernel::detect());
        slot.write(guard.place_list(
            memory,
            memory_bytes,
            (adapters_len, 0),
            |guard, index| {
                let &adapter = list.get(index).ok_or(Status::Internal)?;
                if adapter.is_null() {
                    return Ok(None);
                }
                let adapter = view(guard, adapter)?;
                Ok(Some(guard.keep_adapter(adapter)))
            },
            |views, _| {
                let views: &'static [View] = views;
                let apply = match views {
                    [Some(adapter)] if uses.is_empty() => {
                        if adapter.shape() != shape {
                            return Err(Status::AdapterShape);
                        }
                        Apply::forward(kernel, *adapter, tokens)?
                    }
                    _ => Apply::routed(kernel, shape, tokens, uses, views)?,
                };
                BatchState::new(apply, views, addresses(uses))
            },
        )?);
        Ok(())
    })
}

/// Floats of work for `slices` slices: t, which is common to all of them, and the scratch of each. 0 where nothing is needed, for
/// what is no batch and for more than the address range has. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_batch_work(batch: In<BatchState>, slices: usize) -> usize {
    let mut len = 0;
    guarded(|guard| {
        len = guard.look(batch)?.work_len(slices).unwrap_or(0);
        Ok(())
    });
    len
}

/// The first step: t = s·A·x into `work`, slice `ith` of `nth` (0 of 1 for all of it). Slices may run at the same time, with
/// the same work; between the last of them and the first phlora_batch_up you have a barrier, or else each thread computes
/// all of t for itself: 0 of 1, into work of its own.
///
/// - `x`: see phlora_inputs.
/// - `work`, `work_len`: at least phlora_batch_work(batch, nth) floats; what it holds does not matter.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE, UNKNOWN_VALUE, NOT_STARTED, SLICE_BOUNDS,
/// VECTOR_LENGTH, MEMORY_TOO_SMALL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_batch_down(
    batch: In<BatchState>,
    x: In<InputVectors>,
    ith: usize,
    nth: usize,
    work: Out<f32>,
    work_len: usize,
) -> Status {
    guarded(|guard| {
        let batch = guard.look(batch)?;
        let slice = batch.slice(ith, nth, work_len)?;
        let x = vectors(guard, x)?;
        let work = guard.later(work, work_len)?;
        batch.check(guard)?;
        let [t, scratch] = work.ranges(batch.apply.t_range(slice), batch.scratch(ith))?;
        Ok(batch.apply.down(slice, x, t, scratch)?)
    })
}

/// The second step: y += B·t, slice `ith` of `nth`; see phlora_batch_down.
///
/// - `y`: see phlora_outputs.
/// - `work`, `work_len`: as all slices of phlora_batch_down have left it.
///
/// Any thread. Returns what phlora_batch_down returns; unless OK, y is as it was.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_batch_up(
    batch: In<BatchState>,
    y: In<OutputVectors>,
    ith: usize,
    nth: usize,
    work: Out<f32>,
    work_len: usize,
) -> Status {
    guarded(|guard| {
        let batch = guard.look(batch)?;
        let slice = batch.slice(ith, nth, work_len)?;
        let y = *guard.input(y, 1)?.first().ok_or(Status::Internal)?;
        let (rows, tokens) = (batch.apply.rows(slice), batch.apply.tokens());
        let mut y = guard.activations(y.data, y.bytes, half(y.dtype)?, y.stride, tokens, rows)?;
        let work = guard.later(work, work_len)?;
        batch.check(guard)?;
        let (t, scratch) = work.read_and_write(0..batch.apply.t_len(), batch.scratch(ith))?;
        Ok(batch.apply.up(slice, t, &mut y, scratch)?)
    })
}

/// Both steps on one thread: y += s·B·(A·x).
///
/// - `x`, `y`: see phlora_inputs and phlora_outputs.
/// - `work`, `work_len`: at least phlora_batch_work(batch, 1) floats; overwritten.
///
/// Any thread. Returns what phlora_batch_down returns; unless OK, y is as it was.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_batch_forward(
    batch: In<BatchState>,
    x: In<InputVectors>,
    y: In<OutputVectors>,
    work: Out<f32>,
    work_len: usize,
) -> Status {
    guarded(|guard| {
        let batch = guard.look(batch)?;
        let slice = batch.slice(0, 1, work_len)?;
        let y = *guard.input(y, 1)?.first().ok_or(Status::Internal)?;
        let (rows, tokens) = (batch.apply.rows(slice), batch.apply.tokens());
        let mut y = guard.activations(y.data, y.bytes, half(y.dtype)?, y.stride, tokens, rows)?;
        let x = vectors(guard, x)?;
        let work = guard.output(work, work_len)?;
        batch.check(guard)?;
        Ok(batch.apply.run(x, &mut y, work)?)
    })
}
