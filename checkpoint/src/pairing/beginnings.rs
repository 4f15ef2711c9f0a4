//! Pairs the weights of two models whose names differ in their beginnings: a language model and the multimodal model
//! that contains it, or a model saved with its head and without.

use crate::adapter::{Lora, View};
use crate::error::Result;
use crate::naming::kind::is_number;
use crate::naming::memory::{Weight, Weights};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer weights than this do not show that two beginnings of names mean the same.
const EVIDENCE: usize = 3;

/// Most beginnings that are exchanged.
const ROUNDS: usize = 8;

/// Names, with the shapes of what they name.
type Shapes = BTreeMap<String, Vec<usize>>;

/// Two beginnings of names that mean the same, and the names that get others by them.
type Exchange = (String, String, Vec<(String, String)>);

/// Gives weights that have no namesake in `onto` the names of those there that have the same shape and end alike, and
/// says which beginnings of names were exchanged. A beginning is exchanged for all weights that have it, for that
/// which most weights have in the other model.
pub(crate) fn rename(weights: &mut Weights<'_>, onto: &Weights<'_>) -> Vec<String> {
    let shape = |weight: &Weight<'_>| weight.tensor().shape().to_vec();
    let shapes = |weights: &Weights<'_>| -> Shapes {
        weights.iter().map(|(name, weight)| (name.clone(), shape(weight))).collect()
    };
    if weights.keys().all(|name| onto.contains_key(name)) {
        return Vec::new();
    }
    let exchanges = exchanges(shapes(weights), &shapes(onto), |_, _| true);
    let note =
        |(from, to, renamed): &Exchange| paired(renamed.len(), from, to, ["in one model", "in the other"]);
    let notes = exchanges.iter().map(note).collect();
    for (old, new) in exchanges.into_iter().flat_map(|(_, _, renamed)| renamed) {
        if let Some(weight) = weights.remove(&old) {
            weights.insert(new, weight);
        }
    }
    notes
}

/// `lora` under the names of `view`, also where its names begin otherwise than those of the model: an adapter for a
/// model with its head on the model without it. Says which beginnings of names were exchanged.
///
/// # Errors
/// As [`View::rename`].
pub(crate) fn onto<'a>(lora: Lora<'a>, view: &View<'_>) -> Result<(Lora<'a>, Vec<String>)> {
    let mut lora = view.rename(lora)?;
    // Factors may be those of a weight that is stored turned.
    let sorted = |mut shape: Vec<usize>| {
        shape.sort_unstable();
        shape
    };
    let weight = |module: &str| format!("{module}.weight");
    let mut own: Shapes =
        lora.modules.iter().map(|module| (weight(&module.name), sorted(module.weight_shape()))).collect();
    if own.keys().all(|name| view.weight(name).is_some()) {
        return Ok((lora, Vec::new()));
    }
    own.extend(
        lora.full.iter().map(|tensor| (tensor.name.clone().into_owned(), sorted(tensor.shape.clone()))),
    );
    let all =
        view.weights().map(|(name, weight)| (name.to_owned(), sorted(weight.tensor().shape().to_vec())));
    let (mut names, mut notes) = (BTreeMap::new(), Vec::new());
    // An adapter may hold a single layer, which is not to become another one.
    let same_layer = |from: &str, to: &str| numbers(from).eq(numbers(to));
    for (from, to, renamed) in exchanges(own, &all.collect(), same_layer) {
        notes.push(paired(renamed.len(), &from, &to, ["in the adapter", "in the model"]));
        names.extend(renamed);
    }
    for module in &mut lora.modules {
        if let Some(new) = names.get(&weight(&module.name)).and_then(|new| new.strip_suffix(".weight")) {
            module.name = new.to_owned().into();
        }
    }
    for tensor in &mut lora.full {
        if let Some(new) = names.get(tensor.name.as_ref()) {
            tensor.name = new.clone().into();
        }
    }
    Ok((lora, notes))
}

/// Which beginnings of the names `own` to exchange so that they are names of `onto`, of those that `may` be.
fn exchanges(mut own: Shapes, onto: &Shapes, may: impl Fn(&str, &str) -> bool) -> Vec<Exchange> {
    let mut found = Vec::new();
    for _ in 0..ROUNDS {
        let Some(exchange) = best(&own, onto, &may) else { break };
        for (old, new) in &exchange.2 {
            if let Some(shape) = own.remove(old) {
                own.insert(new.clone(), shape);
            }
        }
        found.push(exchange);
    }
    found
}

/// The two beginnings that pair the most names, and what they pair.
fn best(own: &Shapes, onto: &Shapes, may: impl Fn(&str, &str) -> bool) -> Option<Exchange> {
    let alone: Vec<_> = own.iter().filter(|(name, _)| !onto.contains_key(*name)).collect();
    let free: BTreeSet<_> = onto.keys().filter(|name| !own.contains_key(*name)).map(String::as_str).collect();
    let mut ends = BTreeMap::<&str, Vec<&str>>::new();
    for name in &free {
        for end in endings(name) {
            ends.entry(end).or_default().push(name);
        }
    }
    let mut votes = BTreeMap::<(&str, &str), usize>::new();
    for &(name, shape) in &alone {
        // The longest common ending alone: shorter ones belong to other beginnings.
        let Some((end, others)) = endings(name).find_map(|end| Some((end, ends.get(end)?))) else { continue };
        for other in others.iter().filter(|other| onto.get(**other) == Some(shape)) {
            let beginning = |name: &'_ str| name.len() - end.len();
            let pair = (&name[..beginning(name)], &other[..beginning(other)]);
            if may(pair.0, pair.1) {
                *votes.entry(pair).or_default() += 1;
            }
        }
    }
    let mut found: Vec<_> = votes.into_iter().collect();
    found.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
    let ((from, to), _) = *found.first()?;
    let pair = |(name, shape): &(&String, &Vec<usize>)| {
        let new = format!("{to}{}", name.strip_prefix(from)?);
        (free.contains(new.as_str()) && onto.get(&new) == Some(*shape)).then(|| ((*name).clone(), new))
    };
    let renamed: Vec<_> = alone.iter().filter_map(pair).collect();
    let enough = renamed.len() >= EVIDENCE || 2 * renamed.len() >= own.len();
    enough.then(|| (from.to_owned(), to.to_owned(), renamed))
}

/// What is said of an exchange of beginnings between two sides.
fn paired(count: usize, from: &str, to: &str, [one, other]: [&str; 2]) -> String {
    let (from, to) = (quoted(from), quoted(to));
    format!("paired by the ends of their names: {count} weights, {from} {one} and {to} {other}")
}

/// The numbers in a beginning of names.
fn numbers(beginning: &str) -> impl Iterator<Item = &str> {
    beginning.split('.').filter(|name| is_number(name))
}

/// The ends of a name at its dots, the longest first, of two names at least.
fn endings(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    starts.map(|start| &name[start..]).filter(|end| end.contains('.'))
}

/// A beginning of names as people read it.
fn quoted(beginning: &str) -> String {
    if beginning.is_empty() { "without a prefix".to_owned() } else { format!("below {beginning}*") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_two_names_at_least() {
        let ends: Vec<_> = endings("model.layers.0.q_proj.weight").collect();
        assert_eq!(ends.len(), 4);
        assert_eq!((ends[0], ends[3]), ("model.layers.0.q_proj.weight", "q_proj.weight"));
        assert_eq!(endings("weight").count(), 0);
    }
}
