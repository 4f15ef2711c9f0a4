//! The sans-I/O extractor: a plan, a state that asks for reads, a report.
//!
//! ```text
//! Plan ── start(scratch) ──► Extractor ── wants_pass? push… end_pass ──► finish(A, B)
//!                             ├ Exact      one read, one-sided Jacobi over the whole difference
//!                             ├ Krylov     block Lanczos, as many reads as the tolerance takes
//!                             └ Stream     merge-and-truncate, one read or two
//! ```

mod exact;
mod extractor;
mod factors;
mod gram;
mod krylov;
mod outlook;
mod packed;
mod pass;
mod plan;
mod predict;
mod report;
mod start;
mod stream;
mod strip;
mod watch;

pub use extractor::Extractor;
pub(crate) use factors::Outputs;
pub use pass::Part;
pub(crate) use pass::unit_scale;
pub use plan::Plan;
pub use report::Report;
