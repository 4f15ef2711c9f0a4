//! y += s·B·(A·x): applies adapters beside a base layer, for one token or a batch, each token with its own.
//!
//! Two steps: [`Apply::down`] computes t = s·A·x, [`Apply::up`] adds B·t to y. Both are cut into slices that may run at
//! the same time; between the last `down` and the first `up` the caller has a barrier, as a graph of operators has
//! one between two nodes. A slice that has none computes all of t for itself: `down` with [`Slice::WHOLE`], then its
//! slice of `up`. That costs the bytes of A once per thread instead of once: nothing for one thread, a half more for
//! two, so two operators are the better way where there is a choice.
//!
//! Tokens of one adapter work together, so its factors come from memory once per step. The batch itself is never
//! rearranged: the entries of sixteen tokens are picked up, transposed, as they are needed.

mod group;
mod route;
mod sixteens;
mod slice;
mod tokens;
mod vectors;

use core::ops::Range;

use crate::{Adapter, Error, Kernel, Scratch, Shape};
pub use route::Assignment;
pub use slice::Slice;
use tokens::{Group, Tokens};
pub use vectors::{Inputs, Outputs, OutputsF16, OutputsF32, Values, add_f16, add_f32};

/// Adapters, tokens and who uses what, at one layer. Checked when made; used by any number of threads.
///
/// ```
/// use phlora_core::{Adapter, Apply, Dtype, Inputs, Kernel, OutputsF32, Rows, Shape};
///
/// let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
/// let (a, b) = (bytes(&[1.0, 2.0, 0.0]), bytes(&[3.0, -1.0]));
/// let shape = Shape { rows: 2, cols: 3 };
/// let adapter = Adapter::new(shape, 1, Rows::new(Dtype::F32, &a), Rows::new(Dtype::F32, &b), 0.5)?;
/// let apply = Apply::forward(Kernel::detect(), adapter, 1)?;
/// let mut scratch = vec![0.0; apply.t_len() + apply.scratch_len()];
/// let mut y = [1.0, 1.0];
/// let mut outputs = OutputsF32 { values: &mut y, stride: 2 };
/// apply.run(Inputs::f32(&[1.0, 1.0, 1.0], 3), &mut outputs, &mut scratch)?;
/// assert_eq!(y, [5.5, -0.5]);
/// # Ok::<(), phlora_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    kernel: Kernel,
    shape: Shape,
    tokens: usize,
    work: Work<'a>,
    /// Follow from the rest, and are asked for by every call.
    t_len: usize,
    scratch_len: usize,
}

#[derive(Debug, Clone, Copy)]
enum Work<'a> {
    All(Adapter<'a>),
    Routed { assignments: &'a [Assignment], adapters: &'a [Option<Adapter<'a>>] },
}

/// An upper bound of [`Apply::t_len`] and of [`Apply::scratch_len`] for any batch with at most `assignments` uses of
/// adapters of at most `rank`; for one adapter without routing, `assignments` is the number of tokens. For engines that
/// reserve memory once.
pub const fn apply_scratch(shape: Shape, rank: usize, assignments: usize) -> (Scratch, Scratch) {
    (Scratch::matrix(rank, assignments), group::scratch(shape, rank, assignments))
}

impl<'a> Apply<'a> {
    /// One adapter for all tokens.
    ///
    /// # Errors
    /// [`Error::Empty`] without a token; [`Error::TooLarge`].
    pub fn forward(kernel: Kernel, adapter: Adapter<'a>, tokens: usize) -> Result<Self, Error> {
        Self::checked(kernel, adapter.shape(), tokens, Work::All(adapter))
    }

    /// A batch of `tokens` at a layer of `shape`, with `assignments` as [`Assignment::group`] has ordered them;
    /// `adapters[i]` is what assignments to i use at this layer, `None` where that adapter leaves the layer alone.
    ///
    /// ```
    /// use phlora_core::{Adapter, Apply, Assignment, Dtype, Inputs, Kernel, OutputsF32, Rows, Shape};
    ///
    /// let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    /// let (shape, a, b) = (Shape { rows: 1, cols: 2 }, bytes(&[1.0, 1.0]), bytes(&[2.0]));
    /// let adapter = |scale| Adapter::new(shape, 1, Rows::new(Dtype::F32, &a), Rows::new(Dtype::F32, &b), scale);
    /// let adapters = [Some(adapter(1.0)?), Some(adapter(10.0)?)];
    /// // Token 0 uses adapter 1, token 1 none, token 2 both.
    /// let mut assignments = [(0, 1, 1.0), (2, 0, 1.0), (2, 1, 0.5)]
    ///     .map(|(token, adapter, weight)| Assignment { token, adapter, weight });
    /// Assignment::group(&mut assignments);
    /// let apply = Apply::routed(Kernel::detect(), shape, 3, &assignments, &adapters)?;
    /// let mut scratch = vec![0.0; apply.t_len() + apply.scratch_len()];
    /// let (x, mut y) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0; 3]);
    /// apply.run(Inputs::f32(&x, 2), &mut OutputsF32 { values: &mut y, stride: 1 }, &mut scratch)?;
    /// assert_eq!(y, [60.0, 0.0, 22.0 + 110.0]);
    /// # Ok::<(), phlora_core::Error>(())
    /// ```
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
        Self::checked(kernel, shape, tokens, Work::Routed { assignments, adapters })
    }

    fn checked(kernel: Kernel, shape: Shape, tokens: usize, work: Work<'a>) -> Result<Self, Error> {
        if tokens == 0 {
            return Err(Error::Empty);
        }
        let mut checked = Self { kernel, shape, tokens, work, t_len: 0, scratch_len: 0 };
        checked.t_len = checked.t_scratch().count()?;
        checked.scratch_len = checked.work_scratch().count()?;
        Ok(checked)
    }

    /// `f32` elements of t, common to all slices.
    pub const fn t_len(&self) -> usize {
        self.t_len
    }

    /// `f32` elements of scratch that each slice needs for itself, for either step.
    pub const fn scratch_len(&self) -> usize {
        self.scratch_len
    }

    /// Vectors of the batch.
    pub const fn tokens(&self) -> usize {
        self.tokens
    }

    fn t_scratch(&self) -> Scratch {
        self.groups().fold(Scratch::EMPTY, |sum, group| sum.and(group.t_scratch()))
    }

    fn work_scratch(&self) -> Scratch {
        self.groups().fold(Scratch::EMPTY, |most, group| {
            most.or(group::scratch(self.shape, group.adapter.rank(), group.tokens.len()))
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'a>> + use<'a> {
        let (all, assignments, adapters) = match self.work {
            Work::All(adapter) => (
                Some(Group { kernel: self.kernel, adapter, tokens: Tokens::All(self.tokens) }),
                &[][..],
                &[][..],
            ),
            Work::Routed { assignments, adapters } => (None, assignments, adapters),
        };
        let kernel = self.kernel;
        let routed = assignments.chunk_by(|x, y| x.adapter == y.adapter).filter_map(move |list| {
            let adapter = adapters.get(list.first()?.adapter as usize).copied().flatten()?;
            Some(Group { kernel, adapter, tokens: Tokens::Some(list) })
        });
        all.into_iter().chain(routed)
    }

    /// The groups, each with the place of its first element in t.
    fn placed(&self) -> impl Iterator<Item = (usize, Group<'a>)> + use<'a> {
        self.groups().scan(0, |next, group| {
            let start = *next;
            *next += group.adapter.rank() * group.tokens.len();
            Some((start, group))
        })
    }

    /// The elements of t that a slice of [`Apply::down`] writes. Slices of one count follow each other.
    pub fn t_range(&self, slice: Slice) -> Range<usize> {
        let len = self.t_len();
        if slice == Slice::WHOLE {
            return 0..len;
        }
        let [start, end] = slice.ends(len).map(|at| {
            // Down to a whole rank of a group.
            let mut cut = 0;
            for (first, group) in self.placed() {
                if first <= at {
                    let unit = group.tokens.len();
                    cut = first + ((at - first) / unit).min(group.adapter.rank()) * unit;
                }
            }
            cut
        });
        start..end
    }

    /// The output rows that a slice of [`Apply::up`] adds to.
    pub fn rows(&self, slice: Slice) -> Range<usize> {
        slice.rows(self.shape.rows)
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
            let unit = group.tokens.len();
            let end = first + group.adapter.rank() * unit;
            let (from, to) = (range.start.clamp(first, end), range.end.clamp(first, end));
            if from < to {
                let ranks = (from - first) / unit..(to - first) / unit;
                group.down(ranks, x, &mut t[from - range.start..to - range.start], scratch)?;
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
            let t = t.get(first..first + group.adapter.rank() * group.tokens.len()).unwrap_or_default();
            group.up(rows.clone(), t, y, scratch)?;
        }
        Ok(())
    }

    /// Both steps, on one thread. `scratch`: [`Apply::t_len`] + [`Apply::scratch_len`] elements.
    ///
    /// # Errors
    /// As [`Apply::down`] and [`Apply::up`]; nothing is written to `y`.
    pub fn run(&self, x: Inputs<'_>, y: &mut impl Outputs, scratch: &mut [f32]) -> Result<(), Error> {
        let t_len = self.t_len();
        let needed = t_len.checked_add(self.scratch_len()).ok_or(Error::TooLarge)?;
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
}
