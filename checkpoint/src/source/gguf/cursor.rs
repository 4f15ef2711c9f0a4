//! Reads little-endian fields one after another and never past the end.

use std::ops::Range;

/// What a field has wrong; the caller adds the file and which key or tensor it belongs to.
pub(super) type Problem = String;

/// A place in the file.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes `range`, which have been read.
    pub(super) fn seen(&self, range: Range<usize>) -> &'a [u8] {
        &self.bytes[range]
    }

    /// The next `length` bytes, those of the field `what`.
    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            return Err(format!(
                "cut short: its {what} takes {length} bytes, but only {} follow",
                rest.len()
            ));
        };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N, what)?);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Problem> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, Problem> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of things that take at least `least` bytes each, so that there cannot be more than fit into
    /// what follows.
    pub(super) fn count(&mut self, least: usize, what: &str) -> Result<usize, Problem> {
        let stated = self.u64(what)?;
        let fits = |count: &usize| count.checked_mul(least).is_some_and(|bytes| bytes <= self.left());
        usize::try_from(stated).ok().filter(fits).ok_or_else(|| {
            format!("its {what} is {stated}, which does not fit into the {} bytes that follow", self.left())
        })
    }

    /// The bytes of a string.
    pub(super) fn string(&mut self, what: &str) -> Result<&'a [u8], Problem> {
        let length = self.count(1, &format!("{what}'s length"))?;
        self.take(length, what)
    }
}
