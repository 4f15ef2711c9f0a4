//! Checks of the components of a quantised matrix.

use super::{Component, Fault};
use crate::Error;

impl Component {
    /// The error of this component.
    pub(super) const fn has<T>(self, fault: Fault) -> Result<T, Error> {
        Err(Error::Quantized { component: self, fault })
    }

    /// Refuses `bytes` of another length than `count` × `size`.
    pub(super) fn holds(self, bytes: &[u8], count: usize, size: usize) -> Result<(), Error> {
        let expected = count.checked_mul(size).ok_or(Error::TooLarge)?;
        if bytes.len() == expected { Ok(()) } else { self.has(Fault::Length { expected }) }
    }

    /// Refuses blocks without entries.
    pub(super) fn has_blocks(self, size: usize) -> Result<(), Error> {
        if size == 0 { self.has(Fault::BlockSize) } else { Ok(()) }
    }
}

/// Refuses a weight whose columns are no multiple of `multiple_of`.
pub fn whole_columns(cols: usize, multiple_of: usize) -> Result<(), Error> {
    if cols.is_multiple_of(multiple_of) {
        return Ok(());
    }
    Component::Weight.has(Fault::Columns { multiple_of })
}
