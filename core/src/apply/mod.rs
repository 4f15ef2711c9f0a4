//! y += s·B·(A·x): adapters at work beside a base layer, for one token or a batch, each token with its own.
//!
//! Two steps: [`Apply::down`] computes t = s·A·x, [`Apply::up`] adds B·t to y. Both are cut into slices that may run at
//! the same time; between the last `down` and the first `up` the caller has a barrier, as a graph of operators has
//! one between two nodes. A slice that has none computes all of t for itself: `down` with [`Slice::WHOLE`], then its
//! slice of `up`. That costs the bytes of A once per thread instead of once: nothing for one thread, a half more for
//! two, so two operators are the better way where there is a choice.
//!
//! Tokens of one adapter work together: an adapter's factors are read once per step, decoded in tiles that all of its
//! tokens are multiplied with. One token alone streams the stored rows through [`Kernel::dots`], which is bound by
//! the memory. The batch itself is never rearranged: a tile of it is picked up, transposed, as it is needed.

mod panels;
mod route;
mod slice;
mod vectors;

use core::ops::Range;

use crate::{Adapter, Error, Kernel, Rows, Scratch, Shape, adapter::Factor};
pub use route::Assignment;
pub use slice::Slice;
pub use vectors::{Inputs, Outputs, OutputsF16, OutputsF32, Values, add_f16, add_f32};

/// The unit that slices of rows are cut at: a cache line of f32 at least.
const ROWS: usize = 64;

/// Output rows of a token alone that are computed together: fewer, where the stack is small.
const TOGETHER: usize = if Kernel::DECODES_ON_THE_WAY { 1024 } else { 64 };

/// Adapters, tokens and who uses what, at one layer. Checked when made; used by any number of threads.
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    kernel: Kernel,
    shape: Shape,
    tokens: usize,
    work: Work<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Work<'a> {
    All(Adapter<'a>),
    Routed { assignments: &'a [Assignment], adapters: &'a [Option<Adapter<'a>>] },
}

/// An adapter and its tokens.
#[derive(Debug, Clone, Copy)]
struct Group<'a> {
    adapter: Adapter<'a>,
    lanes: Lanes<'a>,
}

/// Tokens with their weights.
#[derive(Debug, Clone, Copy)]
enum Lanes<'a> {
    All(usize),
    Some(&'a [Assignment]),
}

impl Lanes<'_> {
    fn len(&self) -> usize {
        match self {
            Self::All(count) => *count,
            Self::Some(list) => list.len(),
        }
    }

    /// Lane `i`: its token and weight; `None` beyond the last.
    fn get(&self, i: usize) -> Option<(usize, f32)> {
        match self {
            Self::All(count) => (i < *count).then_some((i, 1.0)),
            Self::Some(list) => list.get(i).map(|of| (of.token as usize, of.weight)),
        }
    }
}

/// Lanes that are multiplied together: one alone, or the width of a product.
const fn width(lanes: usize) -> usize {
    match lanes {
        0 | 1 => 1,
        2..=8 => 8,
        _ => 16,
    }
}

/// Elements of t per rank of a group: its lanes in whole widths.
const fn padded(lanes: usize) -> Option<usize> {
    lanes.checked_next_multiple_of(width(lanes))
}

/// An upper bound of [`Apply::t_len`] and of [`Apply::scratch_len`] for any batch with at most `assignments` uses of at
/// most `adapters` adapters of at most `rank`; for one adapter without routing, `assignments` is the number of tokens
/// and `adapters` is 1. For engines that reserve memory once.
pub const fn apply_scratch(
    shape: Shape,
    rank: usize,
    assignments: usize,
    adapters: usize,
) -> (Scratch, Scratch) {
    let groups = if adapters < assignments { adapters } else { assignments };
    let t = match groups.checked_mul(15) {
        Some(padding) if assignments > groups => match assignments.checked_add(padding) {
            Some(lanes) => Scratch::matrix(rank, lanes),
            None => Scratch::OVERFLOW,
        },
        Some(_) => Scratch::matrix(rank, assignments),
        None => Scratch::OVERFLOW,
    };
    // The widths of a product differ in their needs.
    let small = panels::scratch(shape, rank, if assignments < 8 { assignments } else { 8 });
    (t, small.or(panels::scratch(shape, rank, assignments)).or(panels::scratch(shape, rank, 1)))
}

impl<'a> Apply<'a> {
    /// One adapter for all tokens.
    ///
    /// # Errors
    /// [`Error::Empty`] without a token; [`Error::TooLarge`].
    pub fn forward(kernel: Kernel, adapter: Adapter<'a>, tokens: usize) -> Result<Self, Error> {
        Self { kernel, shape: adapter.shape(), tokens, work: Work::All(adapter) }.checked()
    }

    /// A batch of `tokens` at a layer of `shape`, with `assignments` as [`Assignment::group`] has ordered them;
    /// `adapters[i]` is what assignments to i use at this layer, `None` where that adapter leaves the layer alone.
    ///
    /// # Errors
    /// [`Error::Empty`] without a token; [`Error::UnknownToken`], [`Error::UnknownAdapter`]; [`Error::NonFiniteScale`]
    /// when a weight, or a weight times the adapter's scale, is no number; [`Error::NotGrouped`];
    /// [`Error::AdapterShape`]; [`Error::TooLarge`].
    pub fn routed(
        kernel: Kernel,
        shape: Shape,
        tokens: usize,
        assignments: &'a [Assignment],
        adapters: &'a [Option<Adapter<'a>>],
    ) -> Result<Self, Error> {
        Assignment::check(assignments, tokens, adapters.len())?;
        for of in assignments {
            if let Some(adapter) = adapters.get(of.adapter as usize).copied().flatten() {
                if adapter.shape() != shape {
                    return Err(Error::AdapterShape { index: of.adapter as usize });
                }
                adapter.scaled(of.weight)?;
            }
        }
        Self { kernel, shape, tokens, work: Work::Routed { assignments, adapters } }.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        if self.tokens == 0 {
            return Err(Error::Empty);
        }
        self.t_scratch().count()?;
        self.work_scratch().count()?;
        Ok(self)
    }

    /// `f32` elements of t, which all slices share.
    pub fn t_len(&self) -> usize {
        self.t_scratch().count().unwrap_or(usize::MAX)
    }

    /// `f32` elements of scratch that each slice needs for itself, for either step.
    pub fn scratch_len(&self) -> usize {
        self.work_scratch().count().unwrap_or(usize::MAX)
    }

    fn t_scratch(&self) -> Scratch {
        self.groups().fold(Scratch::EMPTY, |sum, group| {
            let lanes = padded(group.lanes.len()).map_or(Scratch::OVERFLOW, Scratch::elements);
            sum.and(lanes.times(group.adapter.rank()))
        })
    }

    fn work_scratch(&self) -> Scratch {
        self.groups().fold(Scratch::EMPTY, |most, group| {
            most.or(panels::scratch(self.shape, group.adapter.rank(), group.lanes.len()))
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'a>> + use<'a> {
        let (all, assignments, adapters) = match self.work {
            Work::All(adapter) => (Some(Group { adapter, lanes: Lanes::All(self.tokens) }), &[][..], &[][..]),
            Work::Routed { assignments, adapters } => (None, assignments, adapters),
        };
        let routed = assignments.chunk_by(|x, y| x.adapter == y.adapter).filter_map(|list| {
            let adapter = adapters.get(list.first()?.adapter as usize).copied().flatten()?;
            Some(Group { adapter, lanes: Lanes::Some(list) })
        });
        all.into_iter().chain(routed)
    }

    /// The groups, each with the place of its first element in t.
    fn placed(&self) -> impl Iterator<Item = (usize, Group<'a>)> + use<'a> {
        self.groups().scan(0, |next, group| {
            let start = *next;
            *next += group.adapter.rank() * padded(group.lanes.len()).unwrap_or(0);
            Some((start, group))
        })
    }

    /// The elements of t that a slice of [`Apply::down`] writes. Slices of one count follow each other.
    pub fn t_range(&self, slice: Slice) -> Range<usize> {
        let len = self.t_len();
        let [start, end] = slice.ends(len).map(|at| {
            // Down to a whole rank of a group.
            let mut cut = 0;
            for (first, group) in self.placed() {
                if first <= at {
                    let unit = padded(group.lanes.len()).unwrap_or(1);
                    cut = first + ((at - first) / unit).min(group.adapter.rank()) * unit;
                }
            }
            cut
        });
        start..end
    }

    /// The output rows that a slice of [`Apply::up`] adds to.
    pub fn rows(&self, slice: Slice) -> Range<usize> {
        slice.part(self.shape.rows)
    }

    /// Computes a slice of t = s·A·x.
    ///
    /// * `t`: the elements of [`Apply::t_range`], written.
    /// * `scratch`: [`Apply::scratch_len`] elements, of this slice alone.
    ///
    /// # Errors
    /// [`Error::VectorLength`] when `x` holds less than the batch; [`Error::OutputLength`] for `t`;
    /// [`Error::ScratchTooSmall`]. Nothing is written.
    pub fn down(&self, slice: Slice, x: Inputs<'_>, t: &mut [f32], scratch: &mut [f32]) -> Result<(), Error> {
        let range = self.t_range(slice);
        x.check(self.tokens, self.shape.cols)?;
        if t.len() != range.len() {
            return Err(Error::OutputLength { expected: range.len() });
        }
        self.check_scratch(scratch)?;
        for (first, group) in self.placed() {
            let lanes = padded(group.lanes.len()).unwrap_or(1);
            let end = first + group.adapter.rank() * lanes;
            let (from, to) = (range.start.clamp(first, end), range.end.clamp(first, end));
            if from < to {
                let ranks = (from - first) / lanes..(to - first) / lanes;
                let t = &mut t[from - range.start..to - range.start];
                match width(group.lanes.len()) {
                    1 => self.down_one(group, ranks, x, t, scratch),
                    8 => panels::down::<8>(self.kernel, group, ranks, x, t, scratch),
                    _ => panels::down::<16>(self.kernel, group, ranks, x, t, scratch),
                }
            }
        }
        Ok(())
    }

    /// Adds a slice of B·t to y: the rows of [`Apply::rows`], of every token that uses an adapter.
    ///
    /// * `t`: all of it, as every slice of [`Apply::down`] has left it.
    /// * `scratch`: as for [`Apply::down`].
    ///
    /// # Errors
    /// [`Error::VectorLength`] when `y` holds less than the batch; [`Error::OutputLength`] for `t`;
    /// [`Error::ScratchTooSmall`]. Nothing is written.
    pub fn up(
        &self,
        slice: Slice,
        t: &[f32],
        y: &mut impl Outputs,
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        if !y.holds(self.tokens, self.shape.rows) {
            return Err(Error::VectorLength);
        }
        let expected = self.t_len();
        if t.len() != expected {
            return Err(Error::OutputLength { expected });
        }
        self.check_scratch(scratch)?;
        let rows = self.rows(slice);
        for (first, group) in self.placed() {
            let len = group.adapter.rank() * padded(group.lanes.len()).unwrap_or(0);
            let t = t.get(first..first + len).unwrap_or_default();
            match width(group.lanes.len()) {
                1 => self.up_one(group, rows.clone(), t, y),
                8 => panels::up::<8>(self.kernel, group, rows.clone(), t, y, scratch),
                _ => panels::up::<16>(self.kernel, group, rows.clone(), t, y, scratch),
            }
        }
        Ok(())
    }

    /// Both steps, on one thread. `scratch`: [`Apply::t_len`] + [`Apply::scratch_len`] elements.
    ///
    /// # Errors
    /// As [`Apply::down`] and [`Apply::up`]; nothing is written to `y`.
    pub fn run(&self, x: Inputs<'_>, y: &mut impl Outputs, scratch: &mut [f32]) -> Result<(), Error> {
        let t_len = self.t_len();
        let needed = self.t_scratch().and(self.work_scratch()).count()?;
        if scratch.len() < needed {
            return Err(Error::ScratchTooSmall { needed });
        }
        if !y.holds(self.tokens, self.shape.rows) {
            return Err(Error::VectorLength);
        }
        let (t, scratch) = scratch.split_at_mut(t_len);
        self.down(Slice::WHOLE, x, t, scratch)?;
        self.up(Slice::WHOLE, t, y, scratch)
    }

    fn check_scratch(&self, scratch: &[f32]) -> Result<(), Error> {
        let needed = self.scratch_len();
        if scratch.len() < needed { Err(Error::ScratchTooSmall { needed }) } else { Ok(()) }
    }

    /// [`Apply::down`] for a token alone.
    fn down_one(
        &self,
        group: Group<'_>,
        ranks: Range<usize>,
        x: Inputs<'_>,
        t: &mut [f32],
        scratch: &mut [f32],
    ) {
        let Some((token, weight)) = group.lanes.get(0) else { return };
        let a = group.adapter.a();
        let start = token * x.stride;
        let x = match x.values {
            Values::F32(values) => values.get(start..start + a.cols).unwrap_or_default(),
            Values::F16(_) => {
                let copy = &mut scratch[..a.cols];
                x.copy(self.kernel, token, 0, copy);
                copy
            }
        };
        self.kernel.dots(stored(a, ranks), x, t);
        let strength = group.adapter.scale() * weight;
        for t in t {
            *t *= strength;
        }
    }

    /// [`Apply::up`] for a token alone.
    fn up_one(&self, group: Group<'_>, rows: Range<usize>, t: &[f32], y: &mut impl Outputs) {
        let Some((token, _)) = group.lanes.get(0) else { return };
        let mut values = [0.0; TOGETHER];
        for first in rows.clone().step_by(TOGETHER) {
            let values = &mut values[..TOGETHER.min(rows.end - first)];
            self.kernel.dots(stored(group.adapter.b(), first..first + values.len()), t, values);
            y.add(self.kernel, token, first, values);
        }
    }
}

/// Rows of a factor as they are stored.
fn stored(factor: Factor<'_>, rows: Range<usize>) -> Rows<'_> {
    Rows::new(factor.dtype, factor.rows(rows.start, rows.len()))
}
