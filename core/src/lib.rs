//! The numbers of phlora: LoRA adapters extracted from the difference of two weight matrices, applied and merged.
//!
//! `no_std`, no allocation, no I/O, no clock, no thread. Every routine that needs memory takes it from
//! the caller and has a `_scratch` twin (or a `scratch_len` method) that returns how much, in `f32` elements.
//!
//! # Extract
//! [`Plan`] checks a [`Shape`] and [`Options`], returns how much scratch and how many reads the extraction takes, and
//! starts an [`Extractor`] that the caller feeds with chunks of rows:
//!
//! ```
//! use phlora_core::{Dtype, Options, Plan, Rows, Shape};
//!
//! let shape = Shape { rows: 6, cols: 4 };
//! let (base, tuned): ([u8; 96], Vec<u8>) = ([0; 96], (0..24).flat_map(|i| (i as f32).to_le_bytes()).collect());
//! let plan = Plan::new(shape, &Options { rank: 2, ..Options::default() })?;
//! let mut scratch = vec![0.0; plan.scratch_len()];
//! let mut extractor = plan.start(&mut scratch)?;
//! while extractor.wants_pass() {
//!     // Any number of whole rows at a time; here all of them at once.
//!     extractor.push(Rows::new(Dtype::F32, &base), Rows::new(Dtype::F32, &tuned))?;
//!     extractor.end_pass()?;
//! }
//! let (mut a, mut b, mut sigma) = ([0.0; 2 * 4], [0.0; 6 * 2], [0.0; 2]);
//! let report = extractor.finish(&mut a, &mut b, &mut sigma)?;
//! assert!(report.energy() > 0.999_999); // the difference has rank 2
//! # Ok::<(), phlora_core::Error>(())
//! ```
//!
//! [`Mode`] selects the method, [`Goal`] how the rank follows from the singular values, and [`Part`] divides a pass
//! among threads. [`policy`] chooses ranks for many matrices.
//!
//! # Use adapters
//! An [`Adapter`] is a view over two factors in any [`Dtype`].
//!
//! | | |
//! |---|---|
//! | [`Apply`] | y += s·B·(A·x) for one token or a batch in which every token has its own adapters |
//! | [`Registry`] | adapters that are replaced while others use them |
//! | [`Merge`], [`toggle`] | into the weights in place, and back |
//! | [`combine()`] | several adapters, or one, into one of a given rank |
//!
//! # Numbers
//! [`decode`] and [`encode`] convert between f32 and storage formats; `quantized` decodes weights of quantised
//! checkpoints. [`jacobi_svd`] and [`gram_svd`] are the decompositions. A [`Kernel`] is an implementation of the inner loops
//! for one instruction set; [`Kernel::detect`] returns the fastest one.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

mod adapter;
mod delta;
mod error;
mod extract;
#[cfg(feature = "quantized")]
mod fault;
mod format;
mod kernel;
mod linalg;
mod options;
pub mod policy;
#[cfg(feature = "quantized")]
pub mod quantized;
mod shape;

pub use adapter::apply::{
    Apply, Assignment, Inputs, Outputs, OutputsF16, OutputsF32, Slice, Values, add_f16, add_f32,
    apply_scratch,
};
pub use adapter::combine::{Combined, combine, combine_scratch};
pub use adapter::factors::Adapter;
pub use adapter::merge::{Merge, merge_scratch, toggle};
pub use adapter::registry::{Held, Pin, Pinned, Place, Registry, Usage};
pub use delta::Delta;
pub use error::Error;
pub use extract::{Extractor, Part, Plan, Report};
pub use format::{Dtype, Rows};
pub use kernel::Kernel;
pub use kernel::convert::{all_finite, decode, difference, encode};
#[cfg(feature = "operations")]
#[doc(hidden)]
pub use kernel::exposed as operations;
pub use linalg::gram_svd::{gram_svd, gram_svd_scratch};
pub use linalg::jacobi::{Svd, Sweeps, jacobi_svd};
pub use linalg::scratch::Scratch;
pub use options::{Mode, Options};
pub use policy::{Criterion, Goal, Policy, Spectrum};
pub use shape::Shape;
