//! The pointer guard: the one file with unsafe code. It turns what came over the C boundary into slices,
//! values and states, or into a status.
//!
//! [`In`] and [`Out`] have private fields: only a C caller can bring one, itself or in a struct, under the contract
//! of the header (a pointer is NULL, or to as many bytes as the call says, which nobody else uses while the call
//! writes to them or changes while it reads them). What a program gets wrong most easily is still checked: NULL,
//! alignment, sizes beyond the address range, and overlap between everything that one call touches.

#[cfg(feature = "std")]
use crate::files;
use crate::sized::SizedStruct;
use crate::status::Status;
use crate::{extract, options, plan, svd};
use core::ffi::c_void;
#[cfg(feature = "std")]
use core::ffi::{CStr, c_char};
use core::marker::PhantomData;
use core::mem::{MaybeUninit, align_of, size_of};
use core::ptr;

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

#[cfg(feature = "std")]
impl<T> In<T> {
    /// A pointer out of a struct that [`Guard::sized`] has read, and that thus came from the C caller as well.
    pub const fn of_field(pointer: *const T) -> Self {
        Self(pointer)
    }
}

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
#[cfg(feature = "std")]
unsafe impl Plain for files::FileOptions {}
// SAFETY: as above.
#[cfg(feature = "std")]
unsafe impl Plain for files::FileReport {}
// SAFETY: as above.
#[cfg(feature = "std")]
unsafe impl Plain for files::Verification {}
// SAFETY: as above.
#[cfg(feature = "std")]
unsafe impl Plain for files::Contents {}

/// Alignment of the memory of an extraction in bytes: a cache line.
pub const ALIGNMENT: usize = 64;

/// What stands at the beginning of a state's memory.
#[repr(C)]
struct Head {
    /// [`MARK`] xor the address while the state may be used; 0 while a call is working on it.
    mark: usize,
    /// Bytes of the whole memory.
    bytes: usize,
}

/// A state at the beginning of its memory.
#[repr(C)]
struct Placed<T> {
    head: Head,
    value: T,
}

/// A number that memory holds by chance once in 2³² or 2⁶⁴ times.
const MARK: usize = 0x70_68_6c_6f_72_61_31_a5_u64 as usize;

/// Bytes in front of the scratch of a state `T`.
pub const fn head_bytes<T>() -> usize {
    size_of::<Placed<T>>().next_multiple_of(ALIGNMENT)
}

/// Ranges that a call touches at most.
const MOST: usize = 12;

/// Everything that one call touches. `'c` is the time of the call.
pub struct Guard<'c> {
    /// First byte, length, whether the call writes.
    claims: [(usize, usize, bool); MOST],
    claimed: usize,
    /// The state in work.
    resumed: *mut Head,
    call: PhantomData<fn(&'c ()) -> &'c ()>,
}

/// Runs a call: no panic leaves it, and a state that it worked on stays unusable when one tried to.
pub fn guarded(call: impl for<'c> FnOnce(&mut Guard<'c>) -> Result<(), Status>) -> Status {
    let run = move || {
        let mut guard =
            Guard { claims: [(0, 0, false); MOST], claimed: 0, resumed: ptr::null_mut(), call: PhantomData };
        let result = call(&mut guard);
        if !guard.resumed.is_null() {
            // SAFETY: `resume` has checked this pointer, and the call's references end with it.
            unsafe { (*guard.resumed).mark = MARK ^ guard.resumed.addr() };
        }
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

    /// Puts a state at the beginning of `memory`; `build` makes it from the rest, which it may keep.
    ///
    /// # Errors
    /// [`Status::MemoryTooSmall`] below [`head_bytes`] plus 4 bytes for each of `scratch` elements.
    pub fn place<T>(
        &mut self,
        memory: Out<c_void>,
        bytes: usize,
        scratch: usize,
        build: impl FnOnce(&'static mut [f32]) -> Result<T, Status>,
    ) -> Result<StatePointer<T>, Status> {
        let needed = scratch.checked_mul(4).and_then(|len| len.checked_add(head_bytes::<T>()));
        let needed = needed.ok_or(Status::TooLarge)?;
        if memory.0.is_null() {
            return Err(Status::NullPointer);
        }
        if bytes < needed {
            return Err(Status::MemoryTooSmall);
        }
        self.claim(memory.0.cast::<u8>(), bytes, ALIGNMENT, true)?;
        const { assert!(align_of::<Placed<T>>() <= ALIGNMENT) };
        let placed = memory.0.cast::<Placed<T>>();
        // SAFETY: the claim covers `needed` bytes: the head, then `scratch` elements, aligned to 64 bytes both.
        // The state keeps the slice for as long as it is used, which the contract makes the caller's promise;
        // the two ranges do not overlap. `f32` holds any bytes.
        unsafe {
            let scratch =
                core::slice::from_raw_parts_mut(memory.0.byte_add(head_bytes::<T>()).cast::<f32>(), scratch);
            let value = build(scratch)?;
            let head = Head { mark: MARK ^ placed.addr(), bytes: needed };
            placed.write(Placed { head, value });
        }
        Ok(StatePointer(placed.cast()))
    }

    /// A state that [`place`](Self::place) has put there, for this call alone.
    pub fn resume<T>(&mut self, state: Out<T>) -> Result<&'c mut T, Status> {
        let head = check_state(state.0)?;
        // SAFETY: `check_state` has found the head of a state there.
        let bytes = unsafe { (*head).bytes };
        self.claim(head.cast::<u8>(), bytes, ALIGNMENT, true)?;
        self.resumed = head;
        // SAFETY: the mark says that a `T` was placed here and has not moved; nobody else holds a reference:
        // the mark is taken away until `guarded` gives it back.
        unsafe {
            (*head).mark = 0;
            Ok(&mut (*head.cast::<Placed<T>>()).value)
        }
    }

    /// The same, to look at.
    pub fn look<T>(&mut self, state: In<T>) -> Result<&'c T, Status> {
        let head = check_state(state.0.cast_mut())?;
        self.claim(head, 1, ALIGNMENT, false)?;
        // SAFETY: as in `resume`; only shared references are made.
        unsafe { Ok(&(*head.cast::<Placed<T>>()).value) }
    }
}

/// Whether a state was placed at `state` and no call is working on it.
fn check_state<T>(state: *mut T) -> Result<*mut Head, Status> {
    if state.is_null() {
        return Err(Status::NullPointer);
    }
    if !state.addr().is_multiple_of(ALIGNMENT) {
        return Err(Status::Misaligned);
    }
    let head = state.cast::<Head>();
    // SAFETY: aligned, not NULL; that memory is there is the caller's side of the contract.
    let mark = unsafe { (*head).mark };
    if mark == MARK ^ head.addr() { Ok(head) } else { Err(Status::NotStarted) }
}

/// The address of a placed state, for the caller to keep.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct StatePointer<T>(*mut T);

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
