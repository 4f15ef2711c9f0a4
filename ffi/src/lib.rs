//! The C ABI of phlora. `include/phlora.h` is generated from this crate, documentation included; `README.md`
//! beside it is the short way in.
//!
//! * Inputs first, outputs last, a buffer before its length; outputs are written only on success.
//! * The caller owns all memory: `plan` says how much, `extract` starts in it; nothing is freed.
//! * Structs that may grow begin with their size or are followed by it; see `sized`.
//! * Every pointer goes through `guard`, where all unsafe code is; it refuses NULL, misalignment and
//!   overlap before anything is touched.
#![cfg_attr(not(feature = "std"), no_std)]

// In the order that the header shows.
mod version;

mod status;

mod dtype;

mod options;

mod plan;

mod extract;

#[cfg(feature = "std")]
mod parts;

mod convert;

mod svd;

mod adapter;

mod batch;

mod apply;

mod registry;

mod merge;

mod combine;

#[cfg(feature = "std")]
mod files;

mod guard;
mod sized;
mod state;

/// There is nothing to unwind to and nowhere to print: stop here, where a debugger sees it.
#[cfg(all(feature = "panic-handler", not(feature = "std"), not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
