//! Layers that PEFT gives no factors, or wrong ones, but takes whole in its `modules_to_save`.

use crate::jobs::extract::also::{Layers, Take};
use crate::jobs::extract::full::kept;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::tasks::Task;
use crate::naming::kind::suffix_of;
use crate::naming::memory::Kinds;
use crate::pairing::pairs::Pair;
use crate::report::WHOLE_LAYER;
use phlora_core::{Goal, Policy};
use std::collections::{BTreeMap, BTreeSet};

/// Takes such layers: all of them, or, where they were not asked for, all if together they need no more bytes than
/// the factors of the others, and none if more. Within a budget none are taken unasked.
pub(crate) fn take(jobs: &mut [(Pair<'_>, Task)], options: &ExtractOptions) {
    if !options.format.is_like_peft() || options.filter.linear_only {
        return;
    }
    let asked = options.also.layers == Layers::All;
    let found = layers(jobs, options, asked);
    if found.is_empty() {
        return;
    }
    let whole: usize = found.values().flatten().map(|at| bytes(&jobs[*at].0)).fold(0, usize::saturating_add);
    let within = !matches!(options.policy.goal, Goal::Budget(_)) && whole <= factor_bytes(jobs, options);
    for at in found.into_values().flatten() {
        let (pair, task) = &mut jobs[at];
        match (pair.known, asked || within) {
            (_, true) => *task = Task::Take(Take::Layer),
            (Some(Kinds::Whole(why)), false) => {
                let reason = format!("{WHOLE_LAYER}: {why}");
                *task = Task::Measure { reason, entries: Some(pair.base.len()), strict: true };
            }
            _ => {}
        }
    }
}

/// The positions of the weight and the bias of every such layer, by its path.
fn layers(jobs: &[(Pair<'_>, Task)], options: &ExtractOptions, asked: bool) -> BTreeMap<String, Vec<usize>> {
    let mut found = BTreeMap::<String, Vec<usize>>::new();
    for (pair, task) in jobs {
        let included = asked
            || options.filter.include.is_empty()
            || options.filter.includes(pair.module())
            || options.filter.includes(pair.path());
        let left = matches!(task, Task::Measure { reason, .. } if reason != "excluded");
        if matches!(pair.known, Some(Kinds::Whole(_))) && left && included {
            found.insert(pair.path().to_owned(), Vec::new());
        }
    }
    let mut others = BTreeSet::new();
    for (at, (pair, _)) in jobs.iter().enumerate() {
        let Some(own) = found.get_mut(pair.path()) else { continue };
        let stored = matches!(suffix_of(pair.memory), "weight" | "bias");
        if stored && pair.base.shape() == pair.tuned.shape() && is_plain(pair) {
            own.push(at);
        } else {
            others.insert(pair.path());
        }
    }
    found.retain(|path, _| !others.contains(path.as_str()));
    found
}

/// Whether its values are in the files as they are in memory.
fn is_plain(pair: &Pair<'_>) -> bool {
    [pair.base, pair.tuned]
        .iter()
        .all(|side| !side.is_empty() && !side.is_quantized() && side.readable().is_ok())
}

/// Bytes of the whole tensor in an adapter.
fn bytes(pair: &Pair<'_>) -> usize {
    let dtype = pair.tuned.dtype().map(kept);
    dtype.and_then(|dtype| dtype.row_bytes(pair.tuned.len())).unwrap_or(usize::MAX)
}

/// Bytes of the factors of all that is extracted, at the largest rank that the policy allows.
fn factor_bytes(jobs: &[(Pair<'_>, Task)], options: &ExtractOptions) -> usize {
    let Policy { max_rank, .. } = options.policy;
    let extracted = jobs.iter().filter(|(_, task)| matches!(task, Task::Extract));
    let entries = extracted.map(|(pair, _)| {
        let (rows, cols) = pair.stored_shape();
        max_rank.min(rows).min(cols).saturating_mul(rows.saturating_add(cols))
    });
    options.dtype.row_bytes(entries.fold(0, usize::saturating_add)).unwrap_or(usize::MAX)
}
