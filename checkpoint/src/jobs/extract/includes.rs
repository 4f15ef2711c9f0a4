//! Effects of the patterns of a filter: an include pattern without effect is refused, an exclude pattern without one is noted.

use crate::error::{Error, Reason, Result};
use crate::jobs::extract::options::Filter;
use crate::jobs::extract::tasks::Task;
use crate::naming::kind::{Kind, module_of, suffix_of};
use crate::pairing::pairs::Pair;
use crate::report::{LeftOut, Note, WHOLE_LAYER};
use crate::source::similar::closest;
use regex::Regex;
use std::collections::BTreeSet;

/// Names at most this many ends of paths.
const NAMED: usize = 12;

/// Every pattern to include must be met by something that is extracted or stored; what else it names, and patterns to
/// exclude that name nothing, are told.
pub(crate) fn check(jobs: &[(Pair<'_>, Task)], one_sided: &[LeftOut], filter: &Filter) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    for pattern in &filter.include {
        notes.extend(include(pattern, jobs, one_sided, filter)?);
    }
    let named = |pattern: &Regex| {
        jobs.iter().any(|(pair, _)| names(pattern, pair))
            || one_sided.iter().any(|tensor| pattern.is_match(module_of(&tensor.name)))
    };
    for pattern in filter.exclude.iter().filter(|pattern| !named(pattern)) {
        let said = format!("matches no module{}", meant(pattern, jobs));
        notes.push(Note::Exclude { pattern: pattern.to_string(), said });
    }
    Ok(notes)
}

/// What is to be said about a pattern that has an effect.
fn include(
    pattern: &Regex,
    jobs: &[(Pair<'_>, Task)],
    one_sided: &[LeftOut],
    filter: &Filter,
) -> Result<Option<Note>> {
    let named = || jobs.iter().filter(|(pair, _)| names(pattern, pair));
    let left = || named().filter_map(|(pair, task)| Some((pair, reason(task)?)));
    let matrix = |pair: &Pair<'_>| {
        pair.base.shape().len() > 1 && !matches!(pair.kind, Kind::Norm | Kind::Bias | Kind::Other)
    };
    if named().any(|(_, task)| !matches!(task, Task::Measure { .. })) {
        // What another option leaves out was asked for.
        let others: Vec<_> = left().filter(|(pair, reason)| matrix(pair) && *reason != "excluded").collect();
        return Ok(others.first().map(|(pair, reason)| {
            let more = match others.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let said = format!("also names what is not extracted: {}{more}: {reason}", pair.module());
            Note::Include { pattern: pattern.to_string(), said }
        }));
    }
    let (problem, reason) = match left().find(|(pair, _)| matrix(pair)).or_else(|| left().next()) {
        Some((pair, reason)) => {
            let (why, advice) = because(pair, reason, filter);
            (format!("names {}, which is not extracted: {why}", pair.module()), advice)
        }
        None => (unmet(pattern, jobs, one_sided), None),
    };
    Err(Error::Include { pattern: pattern.to_string(), problem, reason })
}

/// Why a pattern names nothing that both models have.
fn unmet(pattern: &Regex, jobs: &[(Pair<'_>, Task)], one_sided: &[LeftOut]) -> String {
    if let Some(tensor) = one_sided.iter().find(|tensor| pattern.is_match(module_of(&tensor.name))) {
        return format!("matches no module of both models: {} is {}", module_of(&tensor.name), tensor.reason);
    }
    if let Some((pair, _)) = jobs.iter().find(|(pair, _)| pattern.is_match(pair.name)) {
        return format!(
            "matches no module: it is held against paths such as {}, without .{}",
            pair.module(),
            suffix_of(pair.name)
        );
    }
    format!("matches no module{}", meant(pattern, jobs))
}

/// What the pattern may have meant.
fn meant(pattern: &Regex, jobs: &[(Pair<'_>, Task)]) -> String {
    let modules = || jobs.iter().map(|(pair, _)| pair.module());
    let ends: BTreeSet<_> = modules().map(suffix_of).collect();
    let word: String = pattern.as_str().chars().filter(|c| !r"\^$*+?()[]{}|".contains(*c)).collect();
    let word = word.trim_matches('.');
    let found = closest(word, ends.iter().copied()).or_else(|| closest(word, modules()));
    let question = found.map_or("; p".to_owned(), |name| format!("; did you mean {name}? P"));
    let shown: Vec<_> = ends.iter().copied().take(NAMED).collect();
    let more = if ends.len() > NAMED { ", …" } else { "" };
    format!("{question}aths of modules here end in {}{more}", shown.join(", "))
}

/// Why a pair is not extracted, and what could be done about it.
fn because(pair: &Pair<'_>, reason: &str, filter: &Filter) -> (String, Option<Reason>) {
    if let Some(accepted) = filter.accepted.as_ref().filter(|_| reason == "excluded")
        && !accepted.is_match(pair.module())
    {
        return (format!("this server takes only modules that match {accepted}"), None);
    }
    let advice = match pair.kind {
        _ if reason == "excluded" => Some(Reason::AlsoExcluded),
        _ if reason.starts_with("not adapted by PEFT") => Some(Reason::NotAdaptedByPeft),
        _ if reason.starts_with(WHOLE_LAYER) => Some(Reason::WholeLayer),
        _ if reason.contains(" rows in base, ") => Some(Reason::OtherRows),
        Kind::Norm => Some(Reason::Norm),
        Kind::Bias => Some(Reason::Bias),
        _ => None,
    };
    (reason.to_owned(), advice)
}

fn reason(task: &Task) -> Option<&str> {
    match task {
        Task::Measure { reason, .. } => Some(reason),
        _ => None,
    }
}

/// Whether a pattern matches a module by either of its names.
fn names(pattern: &Regex, pair: &Pair<'_>) -> bool {
    pattern.is_match(pair.module()) || pattern.is_match(pair.path())
}
