//! The extraction: start, push, end of pass, finish.

use crate::dtype::dtype;
use crate::guard::{Guard, In, Out, StatePointer, guarded};
use crate::options::Options;
use crate::sized::SizedStruct;
use crate::state::{self, State};
use crate::status::Status;
use core::ffi::c_void;
use core::mem::size_of;
use phlora_core::{Delta, Extractor, Rows};

/// Measurements of the difference, of all rows: once the first pass has ended, or the second or third where the first one
/// looks at some of the rows only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Measurements {
    /// Size of what was written.
    pub struct_size: usize,
    /// First row that holds a NaN or an infinity; SIZE_MAX when none does.
    pub first_non_finite_row: usize,
    /// ‖Δ‖²_F, the sum of squared entries; NaN until all rows were measured.
    pub sum_squares: f64,
    /// Entries that are NaN or infinite.
    pub non_finite: u64,
    /// Largest absolute entry; NaN until all rows were measured.
    pub max_abs: f32,
    /// Reads that have ended.
    pub reads: u32,
}

/// What was extracted.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Size of what was written.
    pub struct_size: usize,
    /// Rank of the factors.
    pub rank: usize,
    /// Kept energy Σσ²/‖Δ‖²_F, from 0 to 1; 1 where the difference is zero.
    pub energy: f64,
    /// Σσ² over the kept singular values.
    pub kept: f64,
    /// ‖Δ‖²_F.
    pub sum_squares: f64,
    /// Largest |Δᵢⱼ|.
    pub max_abs: f32,
    /// Reads of the matrix.
    pub reads: u32,
    /// Sweeps of the Jacobi decomposition; 0 in the modes without one, which are all but exact.
    pub sweeps: u32,
    /// 1 when the tolerance was met, else 0: more reads or more memory could keep a little more.
    pub converged: u32,
}

impl SizedStruct for Measurements {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        first_non_finite_row: usize::MAX,
        sum_squares: 0.0,
        non_finite: 0,
        max_abs: 0.0,
        reads: 0,
    };
}

impl SizedStruct for Report {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        energy: 0.0,
        kept: 0.0,
        sum_squares: 0.0,
        max_abs: 0.0,
        reads: 0,
        sweeps: 0,
        converged: 0,
    };
}

/// The extractor of a state that has not finished.
fn running<'c>(guard: &mut Guard<'c>, state: Out<State>) -> Result<&'c mut Extractor<'static>, Status> {
    guard.resume(state)?.extractor.as_mut().ok_or(Status::OutOfOrder)
}

/// Starts an extraction in the caller's memory. Nothing is allocated and nothing has to be freed: to drop an
/// extraction, forget it. The memory must stay where it is, used for nothing else, until the last call.
///
/// - `options`, `rows`, `cols`: as given to phlora_plan_init.
/// - `memory`, `memory_bytes`: at least the plan's `memory_bytes`, aligned to PHLORA_ALIGNMENT; what it holds
///   does not matter.
/// - `extractor`: set to the extraction, which is at the beginning of `memory`.
///
/// Any thread; afterwards one thread at a time may use the extraction.
/// Returns OK, what phlora_plan_init returns, MISALIGNED, OVERLAP, MEMORY_TOO_SMALL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_start(
    options: In<Options>,
    rows: usize,
    cols: usize,
    memory: Out<c_void>,
    memory_bytes: usize,
    extractor: Out<StatePointer<State>>,
) -> Status {
    guarded(|guard| {
        let options = guard.sized(options)?;
        let slot = guard.slot(extractor)?;
        let plan = state::plan(&options, rows, cols)?;
        state::memory_bytes(&plan)?;
        let placed =
            guard.place(memory, memory_bytes, plan.scratch_len(), |scratch| State::new(&plan, scratch))?;
        slot.write(placed);
        Ok(())
    })
}

/// 1 while another read of all rows is wanted, else 0; 0 also for what is no running extraction, so that a
/// loop ends and phlora_finish tells why.
///
/// The thread that uses the extraction.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_wants_pass(extractor: In<State>) -> u32 {
    let mut wants = 0;
    guarded(|guard| {
        wants = u32::from(guard.look(extractor)?.extractor.as_ref().is_some_and(Extractor::wants_pass));
        Ok(())
    });
    wants
}

/// The next rows of this pass: a chunk of whole rows, the same ones of both sides. The factors do not depend on how
/// the rows are cut into chunks, not in a single bit. Nothing of a refused chunk is used.
///
/// - `base`, `base_bytes`, `base_dtype`: rows of the weight before fine-tuning, one after another without
///   padding, no alignment needed, and their phlora_dtype.
/// - `tuned`, `tuned_bytes`, `tuned_dtype`: the same rows after fine-tuning; the format may be another one.
///   Both sides may overlap each other, but not the memory of the extraction.
///
/// The thread that uses the extraction.
/// Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, NOT_STARTED, UNKNOWN_VALUE, OUT_OF_ORDER, NOT_WHOLE_ROWS,
/// NOT_WHOLE_BLOCKS, TOO_MANY_ROWS.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_push(
    extractor: Out<State>,
    base: In<c_void>,
    base_bytes: usize,
    base_dtype: u32,
    tuned: In<c_void>,
    tuned_bytes: usize,
    tuned_dtype: u32,
) -> Status {
    guarded(|guard| {
        let extractor = running(guard, extractor)?;
        let base = Rows::new(dtype(base_dtype)?, guard.input_bytes(base, base_bytes)?);
        let tuned = Rows::new(dtype(tuned_dtype)?, guard.input_bytes(tuned, tuned_bytes)?);
        Ok(extractor.push(base, tuned)?)
    })
}

/// Ends the pass, after every row was pushed, and its parts if it was split.
///
/// The thread that uses the extraction.
/// Returns OK, NULL_POINTER, MISALIGNED, NOT_STARTED, OUT_OF_ORDER, MISSING_ROWS (go on pushing, or split again), and
/// NON_FINITE (after one of the first passes) or OUT_OF_RANGE, after which the extraction cannot go on.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_end_pass(extractor: Out<State>) -> Status {
    guarded(|guard| {
        #[cfg(feature = "std")]
        let state = guard.resume_joined(extractor)?;
        #[cfg(not(feature = "std"))]
        let state = guard.resume(extractor)?;
        #[cfg(feature = "std")]
        state.parts.iter_mut().for_each(crate::guard::Slot::clear);
        Ok(state.extractor.as_mut().ok_or(Status::OutOfOrder)?.end_pass()?)
    })
}

/// Measurements of the difference, also after NON_FINITE. Where `sum_squares` is 0, the weight has not changed and needs
/// no factors; it is NaN until all rows were measured.
///
/// - `measurements`, `measurements_size`: written on success; sizeof(phlora_measurements).
///
/// The thread that uses the extraction.
/// Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, NOT_STARTED, OUT_OF_ORDER.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_measure(
    extractor: Out<State>,
    measurements: Out<Measurements>,
    measurements_size: usize,
) -> Status {
    guarded(|guard| {
        let extractor = running(guard, extractor)?;
        let slot = guard.sized_slot(measurements, measurements_size)?;
        let unknown = Delta { sum_squares: f64::NAN, max_abs: f32::NAN, ..Delta::default() };
        let delta = extractor.delta().unwrap_or(unknown);
        slot.write(Measurements {
            struct_size: measurements_size.min(size_of::<Measurements>()),
            first_non_finite_row: delta.first_non_finite_row.unwrap_or(usize::MAX),
            sum_squares: delta.sum_squares,
            non_finite: delta.non_finite,
            max_abs: delta.max_abs,
            reads: extractor.reads(),
        });
        Ok(())
    })
}

/// Writes the factors, with √Σ in each, so that Δ ≈ B·A, and ends the extraction; its memory is free again.
///
/// - `a`, `a_len`: lora_a, rank × cols, row-major; exactly the plan's `a_len` elements.
/// - `b`, `b_len`: lora_b, rows × rank, row-major; exactly the plan's `b_len` elements.
/// - `singular_values`, `singular_values_len`: exactly rank elements, descending.
/// - `report`, `report_size`: what was extracted; sizeof(phlora_report).
///
/// The thread that uses the extraction.
/// Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, STRUCT_SIZE, NOT_STARTED, OUTPUT_LENGTH, OUT_OF_ORDER (a pass
/// is wanted, or an error has ended the extraction, or it has finished), OUT_OF_RANGE (a singular value exceeds f32,
/// though all entries are within it). After a refused call it may be called again with better arguments; after
/// OUT_OF_RANGE, which ends the extraction, it may not. With OK every number written is finite.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_finish(
    extractor: Out<State>,
    a: Out<f32>,
    a_len: usize,
    b: Out<f32>,
    b_len: usize,
    singular_values: Out<f32>,
    singular_values_len: usize,
    report: Out<Report>,
    report_size: usize,
) -> Status {
    guarded(|guard| {
        let state = guard.resume(extractor)?;
        let a = guard.output(a, a_len)?;
        let b = guard.output(b, b_len)?;
        let singular_values = guard.output(singular_values, singular_values_len)?;
        let slot = guard.sized_slot(report, report_size)?;
        if state.extractor.as_ref().is_none_or(Extractor::wants_pass) {
            return Err(Status::OutOfOrder);
        }
        let fits = |len: usize, n: usize| state.rank.checked_mul(n) == Some(len);
        if !(fits(a_len, state.shape.cols) && fits(b_len, state.shape.rows) && fits(singular_values_len, 1)) {
            return Err(Status::OutputLength);
        }
        let found = state.extractor.take().ok_or(Status::OutOfOrder)?.finish(a, b, singular_values)?;
        slot.write(Report {
            struct_size: report_size.min(size_of::<Report>()),
            rank: found.rank,
            energy: found.energy(),
            kept: found.kept,
            sum_squares: found.delta.sum_squares,
            max_abs: found.delta.max_abs,
            reads: found.reads,
            sweeps: found.sweeps,
            converged: u32::from(found.converged),
        });
        Ok(())
    })
}
