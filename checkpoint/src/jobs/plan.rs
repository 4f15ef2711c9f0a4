//! Energy of an extraction at every rank, without its factors.

use crate::error::Result;
use crate::jobs::extract::{Aim, ExtractOptions, Keep, Survey, aligned};
use crate::pairing::pairs::Pair;
use crate::report::Report;
use crate::run::monitor::Monitor;
use crate::source::model::Model;

/// Reads both models as [`extract`](crate::extract) does and reports the spectra, without factors: every module as it would be at
/// the policy's largest rank.
///
/// # Errors
/// As [`extract`](crate::extract).
pub fn survey(
    base: &Model,
    tuned: &Model,
    deployed: Option<&Model>,
    options: &ExtractOptions,
    monitor: &Monitor,
) -> Result<Report> {
    let models = aligned(base, tuned, deployed, options)?;
    let survey = Survey::new(&models, options, monitor)?;
    let aim = |pair: &Pair<'_>| Some(Aim::fixed(pair, options.policy.round(options.policy.max_rank)));
    let (modules, others) = survey.run(aim, Keep::Spectrum(options.dtype), true)?;
    Ok(survey.extraction(modules, others)?.report(0))
}
