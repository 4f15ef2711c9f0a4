//! The facts of one model: where each tensor of its checkpoint is in memory, and what it is there.

use std::cmp::Reverse;

use super::kinds::Kinds;
use super::pattern::{fill, numbers, prefix_numbers, stars};
use super::placed::{Placed, below};
use super::table::{Body, Change, Count, Fact, Sub, classes_of, is_generation, section, task_of};
use crate::naming::arch::NameMap;
use crate::naming::kind::suffix_of;
use crate::naming::spelling::Spelling;
use crate::source::config::Config;
use crate::source::model::Model;
use std::collections::BTreeMap;

/// Names of a checkpoint that are looked at to find the class of a model which does not say it.
const LOOKED_AT: usize = 1000;

/// How a model is laid out in memory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The class of the model.
    pub(crate) class: &'static str,
    /// Whether the configuration names it; else it is the one that the names of the checkpoint fit best.
    stated: bool,
    body: Body,
    /// Models within it that are of another type than usual, by their place in memory.
    subs: Vec<(&'static str, Layout)>,
    /// As [`Config::counts`].
    counts: BTreeMap<String, usize>,
}

impl Layout {
    /// The layout of `model`, where its architecture is known; a GGUF model's is not told by its names.
    pub(crate) fn of_model(model: &Model) -> Option<Self> {
        if model.is_gguf() { None } else { Self::of(model.config(), &model.names()) }
    }

    /// The layout of the model that `config` describes; `None` where its architecture is not known.
    pub(crate) fn of<'n>(config: &Config, names: &(impl Iterator<Item = &'n str> + Clone)) -> Option<Self> {
        let class = config.architecture.as_deref();
        let known = class.and_then(|class| Some(Self { stated: true, ..Self::of_class(class, config)? }));
        known.or_else(|| {
            let classes = classes_of(config.model_type.as_deref()?);
            let found = classes.filter_map(|class| Self::of_class(class, config));
            let fits: Vec<_> =
                found.map(|layout| (layout.fit(names.clone().take(LOOKED_AT)), layout)).collect();
            let most = fits.iter().map(|(fit, _)| *fit).max()?;
            let mut best: Vec<_> = fits.into_iter().filter(|(fit, _)| *fit == most).collect();
            // The bare model comes first, the one with a head for language second: where both fit, that is meant.
            let at = usize::from(best.len() > 1);
            Some(best.swap_remove(at).1)
        })
    }

    /// How many of the names of a checkpoint it knows something of.
    fn fit<'n>(&self, names: impl Iterator<Item = &'n str>) -> usize {
        let knows = |name: &&str| match self.place(name) {
            Placed::Whole(to) => {
                to != **name || self.body.facts.iter().any(|(fact, _)| numbers(fact, name).is_some())
            }
            _ => true,
        };
        names.filter(knows).count()
    }

    /// The layout of the checkpoints that a GGUF file of the architecture of `names` is made of.
    pub(crate) fn of_gguf(names: &NameMap) -> Option<Self> {
        let of = |model_type: &&str| {
            let config = Config { model_type: Some((*model_type).to_owned()), ..Config::default() };
            Self::of(&config, &std::iter::empty())
        };
        names.model_types().iter().find_map(of)
    }

    fn of_class(class: &str, config: &Config) -> Option<Self> {
        let (class, body) = section(class)?;
        let other = |sub: &Sub| {
            let own = config.sub_configs.get(sub.key).filter(|own| own.as_str() != sub.default)?;
            let class = match sub.class {
                Some(usual) => most_alike(classes_of(own), usual),
                None => classes_of(own).next(),
            };
            let counts = config.counts.iter();
            let own = counts.filter_map(|(path, count)| Some((below(sub.key, path)?.to_owned(), *count)));
            let inner = Config { counts: own.collect(), ..Config::default() };
            Some((sub.place, Self::of_class(class?, &inner)?))
        };
        let subs = body.subs.iter().filter_map(other).collect();
        Some(Self { class, stated: false, body, subs, counts: config.counts.clone() })
    }

    /// Where the tensor `name` of a checkpoint is in memory.
    pub(crate) fn place(&self, name: &str) -> Placed {
        let count = |count: &Count| self.count(count);
        let placed = self.body.sources.iter().find_map(|source| Placed::by(source, name, count));
        if let Some(placed) = placed {
            return placed;
        }
        let moved = self.moved(name);
        for (place, sub) in &self.subs {
            if let Some(rest) = below(place, &moved) {
                return sub.place(rest).below(place);
            }
        }
        Placed::Whole(moved)
    }

    /// A number of the configuration.
    fn count(&self, count: &Count) -> usize {
        self.counts.get(count.key).copied().unwrap_or(count.default)
    }

    /// The tensors of a checkpoint whose rows are those of the tensor `name` in memory, or of matrix `expert` of that
    /// stack; none where a stack is one in the checkpoint as well.
    pub(crate) fn sources(&self, name: &str, expert: Option<usize>) -> Vec<String> {
        for (place, sub) in &self.subs {
            if let Some(rest) = below(place, name) {
                let file = |source: String| self.unmoved(&format!("{place}.{source}"));
                return sub.sources(rest, expert).into_iter().map(file).collect();
            }
        }
        for source in &self.body.sources {
            let size = match &source.change {
                Change::Join => 0,
                Change::JoinGroups(size) => self.count(size),
                _ => continue,
            };
            let found = source.to.iter().enumerate().find_map(|(at, to)| Some((at, numbers(to, name)?)));
            let Some((group, mut at)) = found else { continue };
            let number = expert.map(|expert| (group * size + expert).to_string());
            at.extend(number.as_deref());
            return source.from.iter().filter_map(|from| fill(from, &at)).collect();
        }
        if expert.is_some() { Vec::new() } else { vec![self.unmoved(name)] }
    }

    /// The name in the checkpoint of the tensor `name` in memory, which is the same tensor there.
    fn unmoved(&self, name: &str) -> String {
        let apply = |(from, to): &(&str, &str)| {
            let (numbers, rest) = prefix_numbers(to, name)?;
            let before = fill(from, &numbers)? + rest;
            (self.moved(&before) == name).then_some((rank(to, name, rest), before))
        };
        let best = self.body.moves.iter().filter_map(apply).max_by_key(|(rank, _)| *rank);
        best.map_or_else(|| name.to_owned(), |(_, name)| name)
    }

    /// The name after the rule with the longest beginning; of equals, that with more numbers of its own.
    fn moved(&self, name: &str) -> String {
        let apply = |(from, to): &(&str, &str)| {
            let (numbers, rest) = prefix_numbers(from, name)?;
            Some((rank(from, name, rest), fill(to, &numbers)? + rest))
        };
        let best = self.body.moves.iter().filter_map(apply).max_by_key(|(rank, _)| *rank);
        best.map_or_else(|| name.to_owned(), |(_, name)| name)
    }

    /// What the tensor `name` in memory, of `axes` axes, is; `None` where nothing is known of it.
    pub(crate) fn kind(&self, name: &str, axes: usize) -> Option<Kinds> {
        for (place, sub) in &self.subs {
            if let Some(rest) = below(place, name) {
                return sub.kind(rest, axes);
            }
        }
        // Lists hold modules of several kinds: what is said of matrices is not said of vectors.
        if axes < 2 {
            return None;
        }
        let fact = self.body.facts.iter().find(|(pattern, _)| numbers(pattern, name).is_some());
        let linear =
            |parameter, transposed| Kinds::Linear { parameter, transposed, head: self.may_be_head(name) };
        Some(match fact.map(|(_, fact)| *fact) {
            Some(Fact::Embedding) => Kinds::Embedding,
            Some(Fact::Transposed) => linear(false, true),
            Some(Fact::Convolution) => Kinds::Convolution,
            Some(Fact::Parameter) if !name.ends_with(".weight") => Kinds::Bare,
            Some(Fact::Parameter) => linear(true, false),
            Some(Fact::Attention) => Kinds::Attention,
            Some(Fact::Stack { transposed }) => Kinds::Stack { transposed },
            Some(Fact::Refused(why)) => Kinds::Refused(why),
            Some(Fact::Whole(why)) => Kinds::Whole(why),
            None if axes == 2 => {
                let parameter = self.body.moved.contains(&suffix_of(name.strip_suffix(".weight")?));
                linear(parameter, false)
            }
            None => return None,
        })
    }

    /// Names in memory that the names of a checkpoint do not show, with `*` for their numbers: those that are tied to
    /// others, and those that come of what is rearranged.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &str> {
        let tied = self.body.tied.iter().flat_map(|(one, other)| [*one, *other]);
        let other = self.body.sources.iter().filter(|source| source.change == Change::Other);
        tied.chain(other.flat_map(|source| source.to.iter().copied()))
    }

    /// The class of the model, where its configuration names it.
    pub(crate) fn stated_class(&self) -> Option<&'static str> {
        self.stated.then_some(self.class)
    }

    /// How PEFT wants the names of memory spelled in a file.
    pub(crate) fn spelling(&self) -> Spelling {
        Spelling::new(&self.body.keys)
    }

    /// Whether the weight `name` in memory, where it is called a head, is that of a language model or may be tied to
    /// an embedding.
    fn may_be_head(&self, name: &str) -> bool {
        let writes = task_of(self.class).is_some_and(is_generation);
        let within = self.body.languages.iter().any(|place| below(place, name).is_some());
        !self.stated || writes || within || self.is_tied_module(crate::naming::kind::module_of(name))
    }

    /// Whether the weight of `module` in memory is tied to another one.
    pub(crate) fn is_tied_module(&self, module: &str) -> bool {
        let weight = format!("{module}.weight");
        let is = |tied: &str| numbers(tied, &weight).is_some();
        self.body.tied.iter().any(|(one, other)| is(one) || is(other))
    }
}

/// How much of `name` a pattern says that leaves `rest` of it.
fn rank(pattern: &str, name: &str, rest: &str) -> (usize, Reverse<usize>) {
    (name.len() - rest.len(), Reverse(stars(pattern)))
}

/// The class whose name ends most like `usual`, so with the same head on it; the first of those alike.
fn most_alike(classes: impl Iterator<Item = &'static str>, usual: &str) -> Option<&'static str> {
    let alike =
        |class: &&str| class.bytes().rev().zip(usual.bytes().rev()).take_while(|(a, b)| a == b).count();
    classes.min_by_key(|class| Reverse(alike(class)))
}

#[cfg(test)]
mod tests;
