//! The pointer guard: all unsafe code of this crate. It turns what came over the C boundary into slices and values
//! (here) and states ([`placed`]), or into a status.
//!
//! [`In`] and [`Out`] have private fields: only a C caller can bring one, itself or in a struct, under the contract
//! of the header (a pointer is NULL, or to as many bytes as the call says, which nobody else uses while the call
//! writes to them or changes while it reads them). What a program gets wrong most easily is still checked: NULL,
//! alignment, sizes beyond the address range, and overlap between everything that one call touches.

mod placed;
mod plain;
mod shared;
#[cfg(all(test, feature = "std"))]
mod tests;

use crate::sized::SizedStruct;
use crate::status::Status;
use core::ffi::c_void;
#[cfg(feature = "std")]
use core::ffi::{CStr, c_char};
use core::marker::PhantomData;
use core::mem::{MaybeUninit, align_of, size_of};
use core::ops::Range;
use core::ptr;
#[cfg(feature = "std")]
pub use placed::Slot;
pub use placed::{StatePointer, carved_len, head_bytes, list_bytes};
pub use plain::Plain;
pub use shared::Opaque;

/// A pointer that the callee reads through.
#[repr(transparent)]
pub struct In<T>(*const T);

/// A pointer that the callee writes through.
#[repr(transparent)]
pub struct Out<T>(*mut T);

// Derived, they would ask `T: Copy`.
impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}
impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T> In<T> {
    /// No pointer.
    pub const NULL: Self = Self(ptr::null());

    /// Whether it is none.
    pub const fn is_null(self) -> bool {
        self.0.is_null()
    }
}

impl<T> Out<T> {
    /// A state that guards itself against several threads, to look at.
    pub const fn shared(self) -> In<T> {
        In(self.0)
    }

    /// Whether it is none.
    pub const fn is_null(self) -> bool {
        self.0.is_null()
    }
}

#[cfg(feature = "std")]
impl In<f32> {
    /// To floats that are handed to C.
    pub const fn of_floats(values: &[f32]) -> Self {
        Self(values.as_ptr())
    }
}

#[cfg(feature = "std")]
impl In<c_char> {
    /// To a text that is handed to C.
    pub const fn of_text(text: &CStr) -> Self {
        Self(text.as_ptr())
    }
}

impl In<c_void> {
    /// To bytes that are handed to C.
    #[cfg(feature = "std")]
    pub const fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.as_ptr().cast())
    }

    /// The same, to floats.
    pub const fn as_f32(self) -> In<f32> {
        In(self.0.cast())
    }
}

/// Ranges that a call touches at most.
const MOST: usize = 12;

/// Everything that one call touches. `'c` is the time of the call.
pub struct Guard<'c> {
    /// First byte, length, whether the call writes.
    claims: [(usize, usize, bool); MOST],
    claimed: usize,
    /// The state in work.
    resumed: placed::Resumed,
    call: PhantomData<fn(&'c ()) -> &'c ()>,
}

/// Runs a call: no panic leaves it, and a state that it worked on stays unusable when one tried to.
pub fn guarded(call: impl for<'c> FnOnce(&mut Guard<'c>) -> Result<(), Status>) -> Status {
    let run = move || {
        let mut guard = Guard {
            claims: [(0, 0, false); MOST],
            claimed: 0,
            resumed: placed::Resumed::NONE,
            call: PhantomData,
        };
        let result = call(&mut guard);
        guard.give_back();
        result.err().unwrap_or(Status::Ok)
    };
    #[cfg(feature = "std")]
    return std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(Status::Internal);
    #[cfg(not(feature = "std"))]
    run()
}

impl<'c> Guard<'c> {
    /// Checks `len` elements at `start`, against all ranges that were claimed before.
    fn claim<T>(&mut self, start: *const T, len: usize, align: usize, writes: bool) -> Result<(), Status> {
        let size = const { if size_of::<T>() == 0 { 1 } else { size_of::<T>() } };
        let bytes = len.checked_mul(size).filter(|&bytes| isize::try_from(bytes).is_ok());
        let bytes = bytes.ok_or(Status::TooLarge)?;
        if bytes == 0 {
            return Ok(());
        }
        if start.is_null() {
            return Err(Status::NullPointer);
        }
        if !start.addr().is_multiple_of(align) {
            return Err(Status::Misaligned);
        }
        let end = start.addr().checked_add(bytes).ok_or(Status::TooLarge)?;
        for &(other, length, written) in self.claims.iter().take(self.claimed) {
            if (writes || written) && start.addr() < other + length && other < end {
                return Err(Status::Overlap);
            }
        }
        // Full only by a defect of this crate; then nothing is granted.
        *self.claims.get_mut(self.claimed).ok_or(Status::Internal)? = (start.addr(), bytes, writes);
        self.claimed += 1;
        Ok(())
    }

    /// An input buffer.
    pub fn input<T: Plain>(&mut self, from: In<T>, len: usize) -> Result<&'c [T], Status> {
        self.claim(from.0, len, align_of::<T>(), false)?;
        // SAFETY: the claim holds: `len` aligned elements within the address range, not written by this call;
        // any bytes are a `T`; that they are there is the caller's side of the contract.
        Ok(if len == 0 { &[] } else { unsafe { core::slice::from_raw_parts(from.0, len) } })
    }

    /// An output buffer.
    pub fn output<T: Plain>(&mut self, to: Out<T>, len: usize) -> Result<&'c mut [T], Status> {
        self.claim(to.0, len, align_of::<T>(), true)?;
        // SAFETY: as for `input`; and no other range of this call overlaps it.
        Ok(if len == 0 { &mut [] } else { unsafe { core::slice::from_raw_parts_mut(to.0, len) } })
    }

    /// An input buffer without a type.
    pub fn input_bytes(&mut self, from: In<c_void>, len: usize) -> Result<&'c [u8], Status> {
        self.input(In(from.0.cast::<u8>()), len)
    }

    /// An input buffer among many, all of which are named after the outputs: it may overlap none of those.
    pub fn input_among(&mut self, from: In<c_void>, len: usize) -> Result<&'c [u8], Status> {
        let claimed = self.claimed;
        let bytes = self.input_bytes(from, len);
        self.claimed = claimed;
        bytes
    }

    /// Whether the call writes somewhere in `range`.
    pub fn writes_in(&self, range: &Range<usize>) -> bool {
        let claims = self.claims.iter().take(self.claimed);
        claims
            .into_iter()
            .any(|&(start, len, writes)| writes && start < range.end && range.start < start + len)
    }

    /// A struct that begins with its size, among many; see [`input_among`](Self::input_among).
    pub fn sized_among<T: SizedStruct>(&mut self, from: In<T>) -> Result<T, Status> {
        let claimed = self.claimed;
        let value = self.sized(from);
        self.claimed = claimed;
        value
    }

    /// An output buffer without a type.
    pub fn output_bytes(&mut self, to: Out<c_void>, len: usize) -> Result<&'c mut [u8], Status> {
        self.output(Out(to.0.cast::<u8>()), len)
    }

    /// A text that ends with a zero byte, or `None` for NULL.
    #[cfg(feature = "std")]
    pub fn text(&mut self, from: In<c_char>) -> Result<Option<&'c CStr>, Status> {
        if from.0.is_null() {
            return Ok(None);
        }
        // SAFETY: not NULL; that a zero byte ends it is the caller's side of the contract.
        let text = unsafe { CStr::from_ptr(from.0) };
        self.claim(from.0, text.count_bytes() + 1, 1, false)?;
        Ok(Some(text))
    }

    /// A text among many, all of which are named after the outputs; see [`input_among`](Self::input_among).
    #[cfg(feature = "std")]
    pub fn text_among(&mut self, from: In<c_char>) -> Result<Option<&'c CStr>, Status> {
        let claimed = self.claimed;
        let text = self.text(from);
        self.claimed = claimed;
        text
    }

    /// A list among many.
    #[cfg(feature = "std")]
    pub fn list_among<T: Plain>(&mut self, from: In<T>, len: usize) -> Result<&'c [T], Status> {
        let claimed = self.claimed;
        let list = self.input(from, len);
        self.claimed = claimed;
        list
    }

    /// A place for a text.
    #[cfg(feature = "std")]
    pub fn message(&mut self, to: Out<c_char>, len: usize) -> Result<&'c mut [u8], Status> {
        self.output(Out(to.0.cast::<u8>()), len)
    }

    /// One value to write, once the call has succeeded.
    pub fn slot<T>(&mut self, to: Out<T>) -> Result<&'c mut MaybeUninit<T>, Status> {
        self.claim(to.0, 1, align_of::<T>(), true)?;
        // SAFETY: the claim holds, and `MaybeUninit` makes no demand on what is there.
        Ok(unsafe { &mut *to.0.cast::<MaybeUninit<T>>() })
    }

    /// A struct that begins with its size; see [`SizedStruct`].
    pub fn sized<T: SizedStruct>(&mut self, from: In<T>) -> Result<T, Status> {
        let size = self.input::<usize>(In(from.0.cast()), 1)?.first().copied().unwrap_or(0);
        T::check_size(size)?;
        self.claimed -= 1;
        self.claim(from.0.cast::<u8>(), size, align_of::<T>(), false)?;
        let mut value = T::DEFAULT;
        let known = size.min(size_of::<T>());
        // SAFETY: the claim covers `size` bytes, which is the caller's statement of how many there are; a
        // `Plain` struct is valid whatever the bytes, and the fields that an older one lacks are the defaults.
        unsafe {
            ptr::copy_nonoverlapping(from.0.cast::<u8>(), ptr::from_mut(&mut value).cast::<u8>(), known);
            let unknown = core::slice::from_raw_parts(from.0.cast::<u8>().add(known), size - known);
            if unknown.iter().any(|&byte| byte != 0) {
                return Err(Status::StructSize);
            }
        }
        Ok(value)
    }

    /// The same, or all defaults for NULL.
    #[cfg(feature = "std")]
    pub fn sized_or_default<T: SizedStruct>(&mut self, from: In<T>) -> Result<T, Status> {
        if from.is_null() { Ok(T::DEFAULT) } else { self.sized_among(from) }
    }

    /// `count` structs of `size` bytes to write, one after the other, once the call has succeeded.
    #[cfg(feature = "std")]
    pub fn sized_slots<T: SizedStruct>(
        &mut self,
        to: Out<T>,
        size: usize,
        count: usize,
    ) -> Result<impl Iterator<Item = SizedSlot<'c, T>> + use<'c, T>, Status> {
        T::check_size(size)?;
        let bytes = size.checked_mul(count).ok_or(Status::TooLarge)?;
        let bytes = self.output(Out(to.0.cast::<u8>()), bytes)?;
        if !to.0.is_aligned() || count > 1 && !size.is_multiple_of(align_of::<T>()) {
            return Err(Status::Misaligned);
        }
        Ok(bytes.chunks_exact_mut(size).map(|bytes| SizedSlot { bytes, holds: PhantomData }))
    }

    /// A struct of `size` bytes to write, once the call has succeeded.
    pub fn sized_slot<T: SizedStruct>(
        &mut self,
        to: Out<T>,
        size: usize,
    ) -> Result<SizedSlot<'c, T>, Status> {
        T::check_size(size)?;
        let bytes = self.output(Out(to.0.cast::<u8>()), size)?;
        if !to.0.is_aligned() {
            return Err(Status::Misaligned);
        }
        Ok(SizedSlot { bytes, holds: PhantomData })
    }
}

/// Where a struct of some version is written.
pub struct SizedSlot<'c, T> {
    bytes: &'c mut [u8],
    holds: PhantomData<T>,
}

impl<T: SizedStruct> SizedSlot<'_, T> {
    /// Writes as much of `value` as the caller's version has, and zeros for what only a later version has.
    pub fn write(self, value: T) {
        let known = self.bytes.len().min(size_of::<T>());
        let (here, beyond) = self.bytes.split_at_mut(known);
        beyond.fill(0);
        // SAFETY: `known` bytes on both sides, which do not overlap.
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(&value).cast::<u8>(), here.as_mut_ptr(), known) };
    }
}
