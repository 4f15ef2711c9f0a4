//! Where tensors of a checkpoint are in memory.

use super::pattern::{fill, numbers, stars};
use super::table::{Change, Count, Source};

/// Where a tensor of a checkpoint is in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is the tensor of this name.
    Whole(String),
    /// It is that tensor with its last two axes exchanged.
    Turned(String),
    /// The same, unless the axis has so many entries already.
    TurnedUnless { name: String, axis: usize, entries: usize },
    /// It holds the rows of component `component` of `components` of the tensor `name`, or of matrix `expert` of that stack.
    Joined { name: String, component: usize, components: usize, expert: Option<usize> },
    /// The same of every matrix of the stack.
    JoinedStack { name: String, component: usize, components: usize },
    /// It is that tensor with its rows in another order: so many heads in halves that alternate here.
    Ordered { name: String, heads: usize },
    /// Its rows are those of several tensors, as many of each, the rows of some in another order: of so many heads.
    Split(Vec<(String, Option<usize>)>),
    /// Its rows are those of several tensors, in proportion to these numbers.
    Cut(Vec<(String, usize)>),
    /// It is made into these by an operation that is not followed here.
    Other,
}

impl Placed {
    /// The same of a model that is at `place` of another.
    pub(super) fn below(self, place: &str) -> Self {
        let below = |name: String| format!("{place}.{name}");
        match self {
            Self::Whole(name) => Self::Whole(below(name)),
            Self::Turned(name) => Self::Turned(below(name)),
            Self::Joined { name, component, components, expert } => {
                Self::Joined { name: below(name), component, components, expert }
            }
            Self::JoinedStack { name, component, components } => {
                Self::JoinedStack { name: below(name), component, components }
            }
            Self::TurnedUnless { name, axis, entries } => {
                Self::TurnedUnless { name: below(name), axis, entries }
            }
            Self::Ordered { name, heads } => Self::Ordered { name: below(name), heads },
            Self::Split(names) => Self::Split(names.into_iter().map(|(name, o)| (below(name), o)).collect()),
            Self::Cut(names) => Self::Cut(names.into_iter().map(|(name, n)| (below(name), n)).collect()),
            Self::Other => Self::Other,
        }
    }

    /// Where `name` goes, if it is one of the sources.
    pub(super) fn by(source: &Source, name: &str, count: impl Fn(&Count) -> usize) -> Option<Self> {
        let (component, mut at) = source
            .from
            .iter()
            .enumerate()
            .find_map(|(component, from)| Some((component, numbers(from, name)?)))?;
        let components = source.from.len();
        let first = source.to.first()?;
        Some(match source.change {
            Change::Join => {
                let expert = if at.len() > stars(first) { Some(at.pop()?.parse().ok()?) } else { None };
                Self::Joined { name: fill(first, &at)?, component, components, expert }
            }
            Change::JoinGroups(size) => {
                let (expert, size) = (at.pop()?.parse::<usize>().ok()?, count(&size).max(1));
                let to = source.to.get(expert / size)?;
                Self::Joined { name: fill(to, &at)?, component, components, expert: Some(expert % size) }
            }
            Change::JoinStacks => Self::JoinedStack { name: fill(first, &at)?, component, components },
            Change::Split => {
                Self::Split(source.to.iter().map(|to| Some((fill(to, &at)?, None))).collect::<Option<_>>()?)
            }
            Change::SplitOrder(heads) => {
                let target = |to: &&str| match to.strip_suffix('~') {
                    Some(to) => Some((fill(to, &at)?, Some(count(&heads)))),
                    None => Some((fill(to, &at)?, None)),
                };
                Self::Split(source.to.iter().map(target).collect::<Option<_>>()?)
            }
            Change::TurnUnless { axis, entries } => {
                Self::TurnedUnless { name: fill(first, &at)?, axis, entries: count(&entries) }
            }
            Change::Order(heads) => Self::Ordered { name: fill(first, &at)?, heads: count(&heads) },
            Change::Cut(shares) => {
                let target = |(to, share): (&&str, &Count)| Some((fill(to, &at)?, count(share)));
                Self::Cut(source.to.iter().zip(&shares).map(target).collect::<Option<_>>()?)
            }
            Change::Turn => Self::Turned(fill(first, &at)?),
            Change::Other => Self::Other,
        })
    }
}

/// What of `name` lies below `place`.
pub(super) fn below<'n>(place: &str, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(place)?.strip_prefix('.')
}
