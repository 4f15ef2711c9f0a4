//! How much scratch a routine needs, composed along its call tree, and cutting a buffer accordingly.

use crate::Error;

/// A number of `f32` elements, or the fact that it does not fit into `usize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scratch(Option<usize>);

impl Scratch {
    /// Nothing.
    pub const EMPTY: Self = Self(Some(0));
    /// More than can be addressed.
    pub const OVERFLOW: Self = Self(None);

    /// Elements of a cache line.
    pub(crate) const ALIGNMENT: usize = 16;

    /// Room to begin at a cache line.
    pub(crate) const ALIGNED: Self = Self(Some(Self::ALIGNMENT - 1));

    /// `len` elements.
    pub const fn elements(len: usize) -> Self {
        Self(Some(len))
    }

    /// A matrix of `rows` × `cols` elements.
    pub const fn matrix(rows: usize, cols: usize) -> Self {
        Self(rows.checked_mul(cols))
    }

    /// Both at the same time.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(a.checked_add(b)),
            _ => Self::OVERFLOW,
        }
    }

    /// One or the other.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(if a > b { a } else { b })),
            _ => Self::OVERFLOW,
        }
    }

    /// `count` of them at the same time.
    #[must_use]
    pub const fn times(self, count: usize) -> Self {
        match self.0 {
            Some(len) => Self(len.checked_mul(count)),
            None => Self::OVERFLOW,
        }
    }

    /// The number of elements.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when it does not fit.
    pub const fn count(self) -> Result<usize, Error> {
        match self.0 {
            // A slice holds at most isize::MAX bytes.
            Some(len) if len <= isize::MAX as usize / 4 => Ok(len),
            _ => Err(Error::TooLarge),
        }
    }
}

/// A buffer that is cut up from the front.
pub(crate) struct Buffer<'a>(pub &'a mut [f32]);

impl<'a> Buffer<'a> {
    /// Skips to where a vector of [`ALIGNMENT`](Scratch::ALIGNMENT) elements is aligned: loads that cross a cache line cost
    /// twice.
    pub fn align(&mut self) {
        let skip = self.0.as_ptr().align_offset(Scratch::ALIGNMENT * size_of::<f32>());
        self.take(skip.min(Scratch::ALIGNMENT - 1));
    }

    /// The next `len` elements; fewer when the buffer is shorter.
    pub fn take(&mut self, len: usize) -> &'a mut [f32] {
        let whole = core::mem::take(&mut self.0);
        let (head, tail) = whole.split_at_mut(len.min(whole.len()));
        self.0 = tail;
        head
    }
}
