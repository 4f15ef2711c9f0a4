//! Pairs the weights of two models whose names differ in their beginnings: a language model and the multimodal model
//! that contains it, or a model saved with its head and without.

use crate::naming::memory::Weights;
use std::collections::{BTreeMap, BTreeSet};

/// Fewer weights than this do not show that two beginnings of names mean the same.
const EVIDENCE: usize = 3;

/// Most beginnings that are exchanged.
const ROUNDS: usize = 8;

/// Two beginnings of names that mean the same, and the names that get others by them.
type Exchange = (String, String, Vec<(String, String)>);

/// Gives weights that have no namesake in `onto` the names of those there that have the same shape and end alike, and
/// says which beginnings of names were exchanged. A beginning is exchanged for all weights that have it, for that
/// which most weights have in the other model.
pub(crate) fn rename(weights: &mut Weights<'_>, onto: &Weights<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    for _ in 0..ROUNDS {
        let alone: Vec<_> = weights.keys().filter(|name| !onto.contains_key(*name)).cloned().collect();
        let free: BTreeSet<_> =
            onto.keys().filter(|name| !weights.contains_key(*name)).map(String::as_str).collect();
        if alone.is_empty() || free.is_empty() {
            break;
        }
        let Some((from, to, renamed)) = best(&alone, &free, weights, onto) else { break };
        notes.push(format!(
            "paired by the ends of their names: {} weights, {} in one model and {} in the other",
            renamed.len(),
            quoted(&from),
            quoted(&to)
        ));
        for (old, new) in renamed {
            if let Some(weight) = weights.remove(&old) {
                weights.insert(new, weight);
            }
        }
    }
    notes
}

/// The two beginnings that pair the most weights, and what they pair.
fn best(
    alone: &[String],
    free: &BTreeSet<&str>,
    weights: &Weights<'_>,
    onto: &Weights<'_>,
) -> Option<Exchange> {
    let shape =
        |weights: &Weights<'_>, name: &str| weights.get(name).map(|weight| weight.tensor().shape().to_vec());
    let mut ends = BTreeMap::<&str, Vec<&str>>::new();
    for name in free {
        for end in endings(name) {
            ends.entry(end).or_default().push(name);
        }
    }
    let mut votes = BTreeMap::<(&str, &str), usize>::new();
    for name in alone {
        // The longest common ending alone: shorter ones belong to other beginnings.
        let Some((end, others)) = endings(name).find_map(|end| Some((end, ends.get(end)?))) else { continue };
        let own = shape(weights, name);
        for other in others.iter().filter(|other| shape(onto, other) == own) {
            let beginning = |name: &'_ str| name.len() - end.len();
            *votes.entry((&name[..beginning(name)], &other[..beginning(other)])).or_default() += 1;
        }
    }
    let mut found: Vec<_> = votes.into_iter().collect();
    found.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
    let ((from, to), _) = *found.first()?;
    let pair = |name: &String| {
        let new = format!("{to}{}", name.strip_prefix(from)?);
        (free.contains(new.as_str()) && shape(onto, &new) == shape(weights, name))
            .then(|| (name.clone(), new))
    };
    let renamed: Vec<_> = alone.iter().filter_map(pair).collect();
    let enough = renamed.len() >= EVIDENCE || 2 * renamed.len() >= weights.len();
    enough.then(|| (from.to_owned(), to.to_owned(), renamed))
}

/// The ends of a name at its dots, the longest first, of two parts at least.
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
    fn ends_have_two_parts_at_least() {
        let ends: Vec<_> = endings("model.layers.0.q_proj.weight").collect();
        assert_eq!(ends.len(), 4);
        assert_eq!((ends[0], ends[3]), ("model.layers.0.q_proj.weight", "q_proj.weight"));
        assert_eq!(endings("weight").count(), 0);
    }
}
