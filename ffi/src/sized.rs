//! Structs that may grow: how an older or a newer caller's version is understood.
//!
//! A caller with an older header passes a smaller struct: the missing options are the defaults, the missing
//! results are not written. A caller with a newer header passes a larger one: accepted as long as every option
//! that this version does not know is 0.

use crate::guard::Plain;
use crate::status::Status;

/// A struct of the C ABI that may grow at its end. Its first field is its size as a `usize`.
pub trait SizedStruct: Plain {
    /// Size in the first version that had it.
    const FIRST_SIZE: usize;
    /// What a field is where the caller's version does not have it.
    const DEFAULT: Self;

    /// Whether a struct of `size` bytes can be one.
    fn check_size(size: usize) -> Result<(), Status> {
        if (Self::FIRST_SIZE..=LARGEST).contains(&size) { Ok(()) } else { Err(Status::StructSize) }
    }
}

/// No struct of this ABI will ever be larger; what claims to be is garbage.
const LARGEST: usize = 4096;

// No padding and no surprise: the figures that tests/c/layout.c asserts from the other side.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<crate::options::Options>() == 56 && offset_of!(crate::options::Options, kernel) == 52);
    assert!(size_of::<crate::plan::Plan>() == 48 && offset_of!(crate::plan::Plan, max_reads) == 44);
    assert!(size_of::<crate::extract::Measurements>() == 40);
    assert!(size_of::<crate::extract::Report>() == 56 && offset_of!(crate::extract::Report, converged) == 52);
    assert!(size_of::<crate::svd::SvdInfo>() == 32);
    assert!(
        size_of::<crate::adapter::Adapter>() == 80 && offset_of!(crate::adapter::Adapter, reserved) == 76
    );
    assert!(size_of::<crate::registry::Usage>() == 48);
    assert!(size_of::<crate::batch::InputVectors>() == 32 && size_of::<crate::batch::OutputVectors>() == 32);
    assert!(
        size_of::<crate::combine::Combined>() == 48 && offset_of!(crate::combine::Combined, converged) == 44
    );
};
#[cfg(target_pointer_width = "32")]
const _: () = {
    use core::mem::size_of;
    assert!(size_of::<crate::options::Options>() == 40);
    assert!(size_of::<crate::plan::Plan>() == 28);
    assert!(size_of::<crate::extract::Measurements>() == 32);
    assert!(size_of::<crate::extract::Report>() == 48);
    assert!(size_of::<crate::svd::SvdInfo>() == 24);
    assert!(size_of::<crate::adapter::Adapter>() == 48);
    assert!(size_of::<crate::registry::Usage>() == 24);
    assert!(size_of::<crate::batch::InputVectors>() == 20 && size_of::<crate::batch::OutputVectors>() == 20);
    assert!(size_of::<crate::combine::Combined>() == 40);
};
#[cfg(all(feature = "std", target_pointer_width = "64"))]
const _: () = {
    use core::mem::size_of;
    assert!(size_of::<crate::files::FileOptions>() == 328);
    assert!(size_of::<crate::files::FileReport>() == 120);
    assert!(size_of::<crate::files::PlanOptions>() == 128);
    assert!(size_of::<crate::files::ChoiceOptions>() == 72);
    assert!(size_of::<crate::files::Choice>() == 48);
    assert!(size_of::<crate::files::PruneOptions>() == 152);
    assert!(size_of::<crate::files::Pruned>() == 48);
    assert!(size_of::<crate::files::MergeOptions>() == 48);
    assert!(size_of::<crate::files::Merged>() == 40);
    assert!(size_of::<crate::files::ConvertOptions>() == 80);
    assert!(size_of::<crate::files::Converted>() == 48);
    assert!(size_of::<crate::files::VerifyOptions>() == 48);
    assert!(size_of::<crate::files::Verification>() == 80);
    assert!(size_of::<crate::files::CheckOptions>() == 40);
    assert!(size_of::<crate::files::Contents>() == 72);
    assert!(size_of::<crate::files::DiffOptions>() == 128);
    assert!(size_of::<crate::files::Diff>() == 96);
    assert!(size_of::<crate::files::AdapterModule>() == 120);
};
