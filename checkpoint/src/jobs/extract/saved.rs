//! Modules that are stored whole because they were named, as `modules_to_save` of PEFT.

use crate::error::{Error, Reason, Result};
use crate::jobs::extract::also::Take;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::tasks::Task;
use crate::naming::kind::Kind;
use crate::pairing::pairs::Pair;

/// Takes every tensor of the modules that `options.save` names.
///
/// # Errors
/// When a pattern matches no module, the format has no place for them, or a tensor cannot be taken.
pub(crate) fn take(jobs: &mut [(Pair<'_>, Task)], options: &ExtractOptions, tied: bool) -> Result<()> {
    if options.save.is_empty() {
        return Ok(());
    }
    if !options.format.is_like_peft() || options.filter.linear_only {
        let problem = "whole modules are stored in PEFT's format alone, and not for this server";
        return Err(Error::usage(problem.into()));
    }
    for pattern in &options.save {
        let named = |pair: &Pair<'_>| pattern.is_match(pair.module()) || pattern.is_match(pair.path());
        let mut found = false;
        for (pair, task) in jobs.iter_mut().filter(|(pair, _)| named(pair)) {
            found = true;
            if pair.expert.is_some() || tied && matches!(pair.kind, Kind::Head | Kind::Embedding) {
                let problem = "it cannot be stored whole: it is one of a stack of experts, or output head and embedding are one";
                return Err(pair.tuned.error(problem).because(Reason::Unusable));
            }
            if pair.base.shape() != pair.tuned.shape() {
                let problem = format!(
                    "its shape is {:?}, that of the base {:?}: it cannot be stored whole",
                    pair.tuned.shape(),
                    pair.base.shape()
                );
                return Err(pair.tuned.error(problem).because(Reason::OtherRows));
            }
            for side in [pair.base, pair.tuned] {
                side.readable().map_err(|error| error.because(Reason::Unusable))?;
            }
            *task = Task::Take(Take::Layer);
        }
        if !found {
            return Err(Error::usage(format!("no module matches {pattern}, which is to be stored whole")));
        }
    }
    Ok(())
}
