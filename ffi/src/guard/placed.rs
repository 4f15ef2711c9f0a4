//! States in the caller's memory: putting one there, finding it again, refusing what is none.
//!
//! A word at the beginning of each state, its mark, is a fixed number xor its address. It is taken away while a call
//! works on the state and given back at its end, so a panic leaves a state that nothing will use, and a state that
//! was never started, was moved, or is in use by another call is a status.

use super::{Guard, In, Out};
use crate::status::Status;
use core::ffi::c_void;
use core::mem::transmute;
use core::ptr;
use phlora_core::{Adapter, Assignment};

/// Alignment of the memory of an extraction in bytes: a cache line.
pub const ALIGNMENT: usize = 64;

/// A number that memory holds by chance once in 2³² or 2⁶⁴ times.
const MARK: usize = 0x7068_6c6f_7261_31a5_u64 as usize;

/// The same of a state whose parts are out.
const SPLIT: usize = 0x7068_6c6f_7261_32b6_u64 as usize;

/// What stands at the beginning of a state.
#[repr(C)]
struct Head {
    mark: usize,
    /// Bytes of the whole memory.
    bytes: usize,
}

/// A state at the beginning of its memory.
#[repr(C, align(64))]
struct Placed<T> {
    head: Head,
    value: T,
}

/// Bytes in front of the scratch of a state `T`.
pub const fn head_bytes<T>() -> usize {
    size_of::<Placed<T>>()
}

/// Bytes of a state `T` with a list of `len` elements and `floats` behind it.
pub const fn list_bytes<T, U>(len: usize, floats: usize) -> Option<usize> {
    let Some(list) = len.checked_mul(size_of::<U>()) else { return None };
    let Some(head) = head_bytes::<T>().checked_add(list) else { return None };
    let Some(head) = head.checked_next_multiple_of(ALIGNMENT) else { return None };
    let Some(floats) = floats.checked_mul(4) else { return None };
    head.checked_add(floats)
}

/// Floats that a list of `len` elements takes at any place among floats.
pub const fn carved_len<U>(len: usize) -> Option<usize> {
    match len.checked_mul(size_of::<U>()) {
        Some(bytes) => (bytes / 4).checked_add(align_of::<U>() / 4),
        None => None,
    }
}

/// The address of a placed state, for the caller to keep.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct StatePointer<T>(pub(super) *mut T);

/// The state that a call works on, and what its mark will be afterwards.
pub struct Resumed {
    head: *mut Head,
    mark: usize,
}

impl Resumed {
    pub const NONE: Self = Self { head: ptr::null_mut(), mark: MARK };
}

/// Whether a state was placed at `state` and no call is working on it; one whose parts are out only with `split`.
fn check<T>(state: *mut T, split: bool) -> Result<*mut Head, Status> {
    if state.is_null() {
        return Err(Status::NullPointer);
    }
    if !state.addr().is_multiple_of(ALIGNMENT) {
        return Err(Status::Misaligned);
    }
    let head = state.cast::<Head>();
    // SAFETY: aligned, not NULL; that memory is there is the caller's side of the contract.
    match unsafe { (*head).mark } ^ head.addr() {
        MARK => Ok(head),
        SPLIT if split => Ok(head),
        SPLIT => Err(Status::OutOfOrder),
        _ => Err(Status::NotStarted),
    }
}

impl<'c> Guard<'c> {
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
        let none = |_: &mut Self, _| Ok(0_u8);
        self.place_list(memory, bytes, (0, scratch), none, |_, scratch| build(scratch))
    }

    /// The same for a state that keeps a list of `lens.0` elements, which `fill` makes one after the other, and `lens.1`
    /// floats behind it.
    ///
    /// # Errors
    /// [`Status::MemoryTooSmall`] below [`list_bytes`].
    pub fn place_list<T, U: 'static>(
        &mut self,
        memory: Out<c_void>,
        bytes: usize,
        lens: (usize, usize),
        mut fill: impl FnMut(&mut Self, usize) -> Result<U, Status>,
        build: impl FnOnce(&'static mut [U], &'static mut [f32]) -> Result<T, Status>,
    ) -> Result<StatePointer<T>, Status> {
        let needed = list_bytes::<T, U>(lens.0, lens.1).ok_or(Status::TooLarge)?;
        if memory.0.is_null() {
            return Err(Status::NullPointer);
        }
        if bytes < needed {
            return Err(Status::MemoryTooSmall);
        }
        self.claim(memory.0.cast::<u8>(), bytes, ALIGNMENT, true)?;
        const { assert!(align_of::<Placed<T>>() == ALIGNMENT && align_of::<U>() <= ALIGNMENT) };
        let placed = memory.0.cast::<Placed<T>>();
        // SAFETY: the claim covers `needed` bytes: the head, the list, the floats, each aligned to 64 bytes. The state
        // keeps both slices for as long as it is used, which the contract makes the caller's promise; the ranges do not
        // overlap. Every element of the list is written before there is a slice of it; `f32` holds any bytes.
        unsafe {
            let list = memory.0.byte_add(head_bytes::<T>()).cast::<U>();
            for i in 0..lens.0 {
                list.add(i).write(fill(self, i)?);
            }
            let floats = memory.0.byte_add(needed - 4 * lens.1).cast::<f32>();
            let list = core::slice::from_raw_parts_mut(list, lens.0);
            let value = build(list, core::slice::from_raw_parts_mut(floats, lens.1))?;
            let head = Head { mark: MARK ^ placed.addr(), bytes: needed };
            placed.write(Placed { head, value });
        }
        Ok(StatePointer(placed.cast()))
    }

    /// Lets an adapter outlive this call: the contract of states that keep one is that its factors stay in place,
    /// unwritten, until the last call on the state.
    #[allow(clippy::unused_self)] // only a call may do it
    pub fn keep_adapter(&self, adapter: Adapter<'c>) -> Adapter<'static> {
        // SAFETY: only the lifetime changes; how long the factors last is the caller's side of the contract.
        unsafe { transmute::<Adapter<'c>, Adapter<'static>>(adapter) }
    }

    /// The same for assignments.
    #[allow(clippy::unused_self)] // only a call may do it
    pub fn keep_assignments(&self, list: &'c [Assignment]) -> &'static [Assignment] {
        // SAFETY: as above.
        unsafe { transmute::<&'c [Assignment], &'static [Assignment]>(list) }
    }

    /// Takes a list of `len` elements, which `fill` makes one after the other, from the beginning of `scratch`, an output
    /// of this call; [`carved_len`] floats.
    pub fn carve<U: Copy>(
        &mut self,
        scratch: &'c mut [f32],
        len: usize,
        mut fill: impl FnMut(&mut Self, usize) -> Result<U, Status>,
    ) -> Result<(&'c mut [U], &'c mut [f32]), Status> {
        let floats = carved_len::<U>(len).ok_or(Status::TooLarge)?;
        let (carved, rest) = scratch.split_at_mut_checked(floats).ok_or(Status::MemoryTooSmall)?;
        let start = carved.as_mut_ptr();
        // SAFETY: what was carved holds `len` elements behind up to their alignment; every one is written before there is
        // a slice of them, and nothing else refers to that memory.
        let list = unsafe {
            let list = start.byte_add(start.align_offset(align_of::<U>()) * 4).cast::<U>();
            for i in 0..len {
                list.add(i).write(fill(self, i)?);
            }
            core::slice::from_raw_parts_mut(list, len)
        };
        Ok((list, rest))
    }

    /// A state that [`place`](Self::place) has put there, for this call alone.
    pub fn resume<T>(&mut self, state: Out<T>) -> Result<&'c mut T, Status> {
        let head = check(state.0, false)?;
        self.take(head)
    }

    /// The same, to look at.
    pub fn look<T>(&mut self, state: In<T>) -> Result<&'c T, Status> {
        let head = check(state.0.cast_mut(), false)?;
        // SAFETY: `check` has found the head of a state there.
        let bytes = unsafe { (*head).bytes };
        self.claim(head.cast::<u8>(), bytes, ALIGNMENT, false)?;
        // SAFETY: the mark says that a `T` was placed here; only shared references are made.
        unsafe { Ok(&(*head.cast::<Placed<T>>()).value) }
    }

    /// The same for a state that other states refer to until they are given back: the caller's contract is that it
    /// stays in place, unwritten, until then.
    pub fn look_lasting<T>(&mut self, state: In<T>) -> Result<&'static T, Status> {
        self.look(state)?;
        // SAFETY: as for `look`; how long it lasts is the caller's side of the contract.
        unsafe { Ok(&(*state.0.cast::<Placed<T>>()).value) }
    }

    /// Takes the mark of a state that was checked.
    fn take<T>(&mut self, head: *mut Head) -> Result<&'c mut T, Status> {
        // SAFETY: `check` has found the head of a state there.
        let bytes = unsafe { (*head).bytes };
        self.claim(head.cast::<u8>(), bytes, ALIGNMENT, true)?;
        self.resumed = Resumed { head, mark: MARK };
        // SAFETY: the mark says that a `T` was placed here and has not moved; nobody else holds a reference:
        // the mark is taken away until `give_back`.
        unsafe {
            (*head).mark = 0;
            Ok(&mut (*head.cast::<Placed<T>>()).value)
        }
    }

    /// Gives the mark back at the end of a call.
    pub(super) fn give_back(&mut self) {
        let Resumed { head, mark } = self.resumed;
        if !head.is_null() {
            // SAFETY: `take` has set this pointer after a check, and the call's references end with the call.
            unsafe { (*head).mark = mark ^ head.addr() };
        }
    }
}

#[cfg(feature = "std")]
pub use parts::Slot;

/// Parts of a state that outlive a call, each for a thread of its own.
#[cfg(feature = "std")]
mod parts {
    use super::{ALIGNMENT, Guard, Head, MARK, Out, Placed, SPLIT, StatePointer, Status, check, ptr};
    use core::mem::{MaybeUninit, transmute};
    use core::ops::Range;
    use phlora_core::Part;

    /// A place for a part inside its state.
    pub struct Slot<T>(MaybeUninit<Placed<T>>);

    impl<T> core::fmt::Debug for Slot<T> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("Slot")
        }
    }

    impl<T> Slot<T> {
        /// Nothing.
        pub const EMPTY: Self = Self(MaybeUninit::zeroed());

        /// Puts a part there.
        pub fn fill(&mut self, value: T) -> StatePointer<T> {
            let mark = MARK ^ self.0.as_ptr().addr();
            let head = Head { mark, bytes: size_of::<Placed<T>>() };
            // The pointer is taken from the reference that wrote last: another one would end its validity.
            StatePointer(ptr::from_mut(self.0.write(Placed { head, value })).cast())
        }

        /// Makes the part there, if any, one that is refused.
        pub fn clear(&mut self) {
            // SAFETY: the head is zero or was written by `fill`; all of it is plain numbers.
            unsafe { (*self.0.as_mut_ptr().cast::<Head>()).mark = 0 };
        }
    }

    impl<'c> Guard<'c> {
        /// A state, and the range of its memory, to be split.
        pub fn resume_whole<T>(&mut self, state: Out<T>) -> Result<(&'c mut T, Range<usize>), Status> {
            let value = self.resume(state)?;
            let (start, bytes, _) = self.claims[self.claimed - 1];
            Ok((value, start..start + bytes))
        }

        /// A state whose parts may be out; they must have come to rest.
        pub fn resume_joined<T>(&mut self, state: Out<T>) -> Result<&'c mut T, Status> {
            let head = check(state.0, true)?;
            self.take(head)
        }

        /// Lets `part` outlive this call.
        #[allow(clippy::unused_self)] // only a call may do it
        pub fn keep<'p>(&self, part: Part<'p>) -> Part<'static> {
            // SAFETY: what the part borrows lies in the state's memory. Until `resume_joined`, whose caller clears
            // all slots, the state is refused because of its mark, so only the part reaches it; that no thread
            // still works on a part by then is the caller's side of the contract.
            unsafe { transmute::<Part<'p>, Part<'static>>(part) }
        }

        /// The state's parts are out once the call has ended: until it is joined, nothing else may use it.
        pub fn split(&mut self) {
            self.resumed.mark = SPLIT;
        }

        /// The range that the inputs of this call on a part may not overlap, in the place of the part's own.
        pub fn widen(&mut self, memory: &Range<usize>) {
            if let Some(last) = self.claims[..self.claimed].last_mut() {
                *last = (memory.start, memory.len(), true);
            }
        }

        /// Places for several pointers.
        pub fn pointers<T>(
            &mut self,
            to: Out<StatePointer<T>>,
            len: usize,
        ) -> Result<&'c mut [MaybeUninit<StatePointer<T>>], Status> {
            self.claim(to.0, len, align_of::<StatePointer<T>>(), true)?;
            const { assert!(align_of::<Placed<T>>() == ALIGNMENT) };
            // SAFETY: the claim holds, and `MaybeUninit` makes no demand on what is there.
            Ok(if len == 0 { &mut [] } else { unsafe { core::slice::from_raw_parts_mut(to.0.cast(), len) } })
        }
    }
}
