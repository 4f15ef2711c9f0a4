//! Outputs that several threads write to at the same time, each in places of its own; and pointers that are kept for
//! the caller without ever being followed.

use super::{Guard, In, Out};
use crate::adapter::Assignment;
use crate::status::Status;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ops::Range;
use phlora_core::{Kernel, Outputs, add_f16, add_f32};

/// A pointer of the caller's, which phlora only hands back.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opaque(pub(super) *mut c_void);

// SAFETY: it is never followed; who may follow it in which thread is between the caller and itself.
unsafe impl Send for Opaque {}
// SAFETY: as above.
unsafe impl Sync for Opaque {}

impl Opaque {
    /// No pointer.
    pub const NULL: Self = Self(core::ptr::null_mut());

    /// Whether it is none.
    pub const fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// What the caller gave.
    pub const fn pointer(self) -> *mut c_void {
        self.0
    }
}

// What C passes as one is the other.
const _: () = {
    use core::mem::{offset_of, size_of};
    use phlora_core::Assignment as Core;
    assert!(size_of::<Assignment>() == size_of::<Core>() && align_of::<Assignment>() == align_of::<Core>());
    assert!(offset_of!(Assignment, token) == offset_of!(Core, token));
    assert!(offset_of!(Assignment, adapter) == offset_of!(Core, adapter));
    assert!(offset_of!(Assignment, weight) == offset_of!(Core, weight));
};

/// The outputs of a layer, of which this call writes only `rows`.
pub struct Activations<'c> {
    start: *mut u8,
    half: bool,
    tokens: usize,
    /// Elements.
    len: usize,
    stride: usize,
    rows: Range<usize>,
    call: PhantomData<&'c mut [u8]>,
}

impl<'c> Guard<'c> {
    /// An output of `tokens` vectors in f32, or in f16 with `half`, `stride` elements apart, that other calls write to
    /// at the same time outside of `rows`.
    pub fn activations(
        &mut self,
        to: Out<c_void>,
        bytes: usize,
        half: bool,
        stride: usize,
        tokens: usize,
        rows: Range<usize>,
    ) -> Result<Activations<'c>, Status> {
        let start = to.0.cast::<u8>();
        self.claim(start, bytes, if half { 2 } else { 4 }, true)?;
        let len = bytes / if half { 2 } else { 4 };
        Ok(Activations { start, half, tokens, len, stride, rows, call: PhantomData })
    }

    /// Assignments to read.
    pub fn assignments(
        &mut self,
        from: In<Assignment>,
        len: usize,
    ) -> Result<&'c [phlora_core::Assignment], Status> {
        self.input(In(from.0.cast()), len)
    }

    /// Assignments to change.
    pub fn assignments_mut(
        &mut self,
        to: Out<Assignment>,
        len: usize,
    ) -> Result<&'c mut [phlora_core::Assignment], Status> {
        self.output(Out(to.0.cast()), len)
    }

    /// An output of `len` elements of which other calls write others at the same time; see [`Later::ranges`].
    pub fn later(&mut self, to: Out<f32>, len: usize) -> Result<Later<'c>, Status> {
        self.claim(to.0, len, align_of::<f32>(), true)?;
        Ok(Later { start: to.0, len, call: PhantomData })
    }
}

/// An output that was claimed and is not a slice yet.
pub struct Later<'c> {
    start: *mut f32,
    len: usize,
    call: PhantomData<&'c mut [f32]>,
}

impl<'c> Later<'c> {
    /// The elements that this call writes, in two places.
    pub fn ranges(self, one: Range<usize>, other: Range<usize>) -> Result<[&'c mut [f32]; 2], Status> {
        self.check(&one, &other)?;
        // SAFETY: the claim covers both ranges, which do not overlap, and there is one such value per claim; that other
        // calls of this time have other ranges is the caller's side of the contract, which gives each slice to one call.
        unsafe { Ok([slice(self.start, one), slice(self.start, other)]) }
    }

    /// Elements that all calls of this time read, and those that this call writes.
    pub fn read_and_write(
        self,
        read: Range<usize>,
        write: Range<usize>,
    ) -> Result<(&'c [f32], &'c mut [f32]), Status> {
        self.check(&read, &write)?;
        // SAFETY: as above; what is read is written by no call of this time.
        unsafe { Ok((&*slice(self.start, read), slice(self.start, write))) }
    }

    fn check(&self, one: &Range<usize>, other: &Range<usize>) -> Result<(), Status> {
        let within = |range: &Range<usize>| range.start <= range.end && range.end <= self.len;
        let apart = one.is_empty() || other.is_empty() || one.end <= other.start || other.end <= one.start;
        if within(one) && within(other) && apart { Ok(()) } else { Err(Status::OutputLength) }
    }
}

/// Elements `range` behind `start`.
///
/// # Safety
/// They are there, aligned, and nobody else writes to them.
unsafe fn slice<'c>(start: *mut f32, range: Range<usize>) -> &'c mut [f32] {
    if range.is_empty() {
        return &mut [];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(start.add(range.start), range.len()) }
}

impl Outputs for Activations<'_> {
    fn holds(&self, tokens: usize, rows: usize) -> bool {
        let apart = tokens < 2 || self.stride >= rows;
        let last =
            tokens.saturating_sub(1).checked_mul(self.stride).and_then(|start| start.checked_add(rows));
        apart && tokens <= self.tokens && last.is_some_and(|end| end <= self.len)
    }

    fn add(&mut self, kernel: Kernel, token: usize, first: usize, values: &[f32]) {
        let end = first + values.len();
        let start = token * self.stride + first;
        // What `holds` has said and the core has promised, once more: everything below follows from it.
        if first < self.rows.start || end > self.rows.end || start + values.len() > self.len {
            return;
        }
        // SAFETY: within the claim, aligned for its type; only this call writes these rows of any token, and this
        // reference is gone before the next one is made.
        unsafe {
            if self.half {
                let y = core::slice::from_raw_parts_mut(self.start.add(2 * start), 2 * values.len());
                add_f16(kernel, y, values);
            } else {
                #[expect(clippy::cast_ptr_alignment, reason = "the claim checks it")]
                let y = core::slice::from_raw_parts_mut(self.start.cast::<f32>().add(start), values.len());
                add_f32(kernel, y, values);
            }
        }
    }
}
