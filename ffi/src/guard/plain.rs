//! Types that may be read from a C caller's memory as they are.

use super::{In, Opaque};
#[cfg(feature = "std")]
use crate::files;
use crate::{adapter, batch, combine, extract, options, plan, registry, svd};
#[cfg(feature = "std")]
use core::ffi::c_char;

/// Types of which any bytes are a value.
///
/// # Safety
/// No bit pattern is invalid, and there is no padding.
pub unsafe trait Plain: Copy {}
// SAFETY: any bytes are a value.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for usize {}

// SAFETY: `repr(C)`, numbers alone, ordered so that there is no padding with 4-byte or 8-byte `usize`; `sized.rs`
// asserts that.
unsafe impl Plain for options::Options {}
// SAFETY: as above.
unsafe impl Plain for plan::Plan {}
// SAFETY: as above.
unsafe impl Plain for extract::Measurements {}
// SAFETY: as above.
unsafe impl Plain for extract::Report {}
// SAFETY: as above.
unsafe impl Plain for svd::SvdInfo {}
// SAFETY: as above; a raw pointer may hold anything.
unsafe impl Plain for adapter::Adapter {}
// SAFETY: as above.
unsafe impl Plain for In<adapter::Adapter> {}
// SAFETY: as above.
unsafe impl Plain for phlora_core::Assignment {}
// SAFETY: as above.
unsafe impl Plain for batch::InputVectors {}
// SAFETY: as above.
unsafe impl Plain for batch::OutputVectors {}
// SAFETY: as above.
unsafe impl Plain for Opaque {}
// SAFETY: as above.
unsafe impl Plain for combine::Combined {}
// SAFETY: as above.
unsafe impl Plain for registry::Usage {}
// SAFETY: as above.
#[cfg(feature = "std")]
unsafe impl Plain for In<c_char> {}

/// The structs of the file functions.
#[cfg(feature = "std")]
macro_rules! plain {
    ($($name:ident),*) => {$(
        // SAFETY: as above; where a field for a function is not NULL, there is one, by the caller's contract.
        unsafe impl Plain for files::$name {}
    )*};
}
#[cfg(feature = "std")]
plain!(
    AdapterModule,
    CheckOptions,
    Choice,
    ChoiceOptions,
    Contents,
    ConvertOptions,
    Converted,
    Diff,
    DiffOptions,
    FileOptions,
    FileReport,
    MergeOptions,
    Merged,
    PlanOptions,
    PruneOptions,
    Pruned,
    Verification,
    VerifyOptions
);
