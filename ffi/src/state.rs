//! The extraction in the caller's memory: the core's extractor, then its scratch.

#[cfg(feature = "std")]
use crate::guard::Slot;
use crate::guard::head_bytes;
use crate::options::{Mode, Options};
#[cfg(feature = "std")]
use crate::parts::{MAX_PARTS, PartState};
use crate::status::Status;
use phlora_core::{Extractor, Plan, Shape};

/// A running extraction, at the beginning of the memory that phlora_start was given. Do not move or copy it.
#[derive(Debug)]
pub struct State {
    /// `None` once it has finished.
    pub extractor: Option<Extractor<'static>>,
    pub shape: Shape,
    pub rank: usize,
    /// The parts of a pass that is split.
    #[cfg(feature = "std")]
    pub parts: [Slot<PartState>; MAX_PARTS],
}

impl State {
    /// A running extraction.
    pub fn new(plan: &Plan, scratch: &'static mut [f32]) -> Result<Self, Status> {
        Ok(Self {
            extractor: Some(plan.start(scratch)?),
            shape: plan.shape(),
            rank: plan.rank(),
            #[cfg(feature = "std")]
            parts: [const { Slot::EMPTY }; MAX_PARTS],
        })
    }
}

/// The core's plan.
pub fn plan(options: &Options, rows: usize, cols: usize) -> Result<Plan, Status> {
    let core = options.core(head_bytes::<State>())?;
    let kernel = options.kernel()?;
    Ok(Plan::new(Shape { rows, cols }, &core)?.with_kernel(kernel))
}

/// Bytes for the state and the scratch of a plan.
pub fn memory_bytes(plan: &Plan) -> Result<usize, Status> {
    let scratch = plan.scratch_len().checked_mul(4);
    let bytes = scratch.and_then(|scratch| scratch.checked_add(head_bytes::<State>()));
    bytes.filter(|&bytes| isize::try_from(bytes).is_ok()).ok_or(Status::TooLarge)
}

/// The number of a mode.
pub const fn mode_number(mode: phlora_core::Mode) -> Mode {
    match mode {
        phlora_core::Mode::Auto => Mode::Auto,
        phlora_core::Mode::Exact => Mode::Exact,
        phlora_core::Mode::MultiRead => Mode::MultiRead,
        phlora_core::Mode::StreamOnce => Mode::StreamOnce,
    }
}
