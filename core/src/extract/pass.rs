//! One read of the rows: what a pass does with them, and the parts that threads may feed.

use core::ops::Range;

use super::{
    plan::MAX_PARTS,
    strip::{DecodedStrip, entries},
};
use crate::{Delta, Error, Rows, kernel::STRIP_ROWS, linalg::random};

/// The power of two that brings `largest`, which is above 0, near to 1; for a subnormal one as near as the
/// range of f32 allows, to 2⁻²³ at least.
pub fn unit_scale(largest: f32) -> f32 {
    libm::ldexpf(1.0, (-libm::ilogbf(largest)).clamp(-126, 126))
}

/// How far a part has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Rows pushed in this pass.
    pub done: usize,
    /// Measurements of its rows.
    pub delta: Delta,
}

/// One row range of a pass; see [`Extractor::parts`](crate::Extractor::parts).
pub struct Part<'p>(Kind<'p>);

enum Kind<'p> {
    Krylov8(KrylovPart<'p, 8>),
    #[cfg(feature = "wide")]
    Krylov16(KrylovPart<'p, 16>),
    Whole(&'p mut (dyn Whole + 'p)),
}

/// Not derived, or the trait object of a mode would bring code that formats into programs that format nothing.
impl core::fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Part").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl Part<'_> {
    /// Rows of the matrix that belong to this part.
    pub fn rows(&self) -> Range<usize> {
        match &self.0 {
            Kind::Krylov8(part) => part.rows.clone(),
            #[cfg(feature = "wide")]
            Kind::Krylov16(part) => part.rows.clone(),
            Kind::Whole(state) => 0..state.row_count(),
        }
    }

    /// The next rows of this part, both sides.
    ///
    /// # Errors
    /// As [`Extractor::push`](crate::Extractor::push).
    pub fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        match &mut self.0 {
            Kind::Krylov8(part) => part.push(base, tuned),
            #[cfg(feature = "wide")]
            Kind::Krylov16(part) => part.push(base, tuned),
            Kind::Whole(state) => state.push(base, tuned),
        }
    }
}

impl<'p> From<KrylovPart<'p, 8>> for Part<'p> {
    fn from(part: KrylovPart<'p, 8>) -> Self {
        Self(Kind::Krylov8(part))
    }
}

#[cfg(feature = "wide")]
impl<'p> From<KrylovPart<'p, 16>> for Part<'p> {
    fn from(part: KrylovPart<'p, 16>) -> Self {
        Self(Kind::Krylov16(part))
    }
}

/// A mode that takes its rows in one sequence.
pub trait Whole: Send {
    /// Rows of the matrix.
    fn row_count(&self) -> usize;
    /// The next rows, both sides.
    fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error>;
}

impl<'p> From<&'p mut (dyn Whole + 'p)> for Part<'p> {
    fn from(state: &'p mut (dyn Whole + 'p)) -> Self {
        Self(Kind::Whole(state))
    }
}

/// How many rows of `cols` entries both sides of a chunk hold, at most `left`.
pub fn count_rows(base: Rows<'_>, tuned: Rows<'_>, cols: usize, left: usize) -> Result<usize, Error> {
    let count = |rows: Rows<'_>| match rows.dtype.row_bytes(cols) {
        None if !cols.is_multiple_of(rows.dtype.block_len()) => {
            Err(Error::NotWholeBlocks { block_len: rows.dtype.block_len() })
        }
        Some(0) if rows.bytes.is_empty() => Ok(0),
        Some(bytes) if bytes > 0 && rows.bytes.len().is_multiple_of(bytes) => Ok(rows.bytes.len() / bytes),
        _ => Err(Error::NotWholeRows),
    };
    let rows = count(base)?;
    if rows != count(tuned)? {
        return Err(Error::NotWholeRows);
    }
    if rows > left { Err(Error::TooManyRows) } else { Ok(rows) }
}

/// What a pass does with the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Adds one row in so many, chosen at random, up to Z; measures them where these are all.
    AddUp(usize),
    /// Both products; measures the difference on the way or does not.
    Multiply { measure: bool },
}

/// One row range of a pass of multi-read.
pub struct KrylovPart<'p, const W: usize> {
    pub work: Work,
    /// The panel X of the basis, packed.
    pub x: &'p [f32],
    pub rows: Range<usize>,
    /// Y of these rows, `rows` × `W`, cleared by the first push.
    pub y: &'p mut [f32],
    /// Z summed over these rows, packed, where rows are added up by columns; cleared by the first push.
    pub z: &'p mut [f32],
    pub strip: DecodedStrip<'p>,
    pub progress: &'p mut Progress,
}

impl<const W: usize> KrylovPart<'_, W> {
    /// Rows that were not pushed yet.
    fn left(&self) -> usize {
        self.rows.len() - self.progress.done
    }

    /// The next rows of this part, both sides, a strip at a time.
    fn push(&mut self, base: Rows<'_>, tuned: Rows<'_>) -> Result<(), Error> {
        let count = count_rows(base, tuned, self.strip.cols, self.left())?;
        if self.progress.done == 0 && count > 0 {
            // Here, where threads divide it, and not before all of them begin.
            self.y.fill(0.0);
            self.z.fill(0.0);
        }
        let measure = match self.work {
            Work::AddUp(one_in) => {
                self.add_up((base, tuned), count, one_in);
                return Ok(());
            }
            Work::Multiply { measure } => measure,
        };
        for first in (0..count).step_by(STRIP_ROWS) {
            let rows = STRIP_ROWS.min(count - first);
            let mut ahead = self.strip.ahead(base, tuned, first + rows, 2);
            let y = &mut self.y[self.progress.done * W..][..rows * W];
            self.strip.difference_forward::<W>((base, tuned), first, rows, self.x, y, &mut ahead)?;
            if measure {
                let row = self.rows.start + self.progress.done;
                self.strip.measure(rows, row, &mut self.progress.delta)?;
            }
            self.strip.backward::<W>(rows, y, self.z, &mut ahead)?;
            self.progress.done += rows;
        }
        Ok(())
    }

    /// The chosen ones of the next `count` rows, one in `one_in`.
    fn add_up(&mut self, sides: (Rows<'_>, Rows<'_>), count: usize, one_in: usize) {
        let first = self.rows.start + self.progress.done;
        let is_chosen = |at: &usize| (random::bits((first + at) as u64) >> 32).is_multiple_of(one_in as u64);
        let mut chosen = (0..count).filter(is_chosen).peekable();
        while let Some(at) = chosen.next() {
            let rows = (at, chosen.peek().copied());
            let delta = (one_in == 1).then_some(&mut self.progress.delta);
            self.strip.add_up::<W>(sides, rows, first + at, delta, self.z);
        }
        self.progress.done += count;
    }
}

/// Deals a chunk out to the parts that they belong to, in order.
pub fn deal<'p, const W: usize>(
    parts: impl Iterator<Item = KrylovPart<'p, W>>,
    base: Rows<'_>,
    tuned: Rows<'_>,
    cols: usize,
) -> Result<(), Error> {
    let count = count_rows(base, tuned, cols, usize::MAX)?;
    // Nothing of a refused chunk is used, so the room is counted before the first row.
    let mut parts: heapless::Vec<_, MAX_PARTS> = parts.collect();
    if count > parts.iter().map(KrylovPart::left).sum() {
        return Err(Error::TooManyRows);
    }
    let mut first = 0;
    for part in &mut parts {
        let rows = part.left().min(count - first);
        let of = |side| entries(side, first * cols, rows * cols);
        part.push(of(base), of(tuned))?;
        first += rows;
    }
    Ok(())
}
