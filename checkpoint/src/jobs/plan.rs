//! Energy of an extraction at every rank, without its factors.

use crate::error::Result;
use crate::jobs::extract::ExtractJob;
use crate::jobs::extract::outcome::Keep;
use crate::jobs::extract::plans::Aim;
use crate::pairing::pairs::Pair;
use crate::report::Report;
use crate::run::monitor::Monitor;

impl ExtractJob<'_> {
    /// Reads the models as [`extract`](Self::extract) does and reports the spectra, without factors: every module as it
    /// would be at the largest rank of the policy.
    ///
    /// # Errors
    /// As [`extract`](Self::extract).
    pub fn plan(&self, monitor: &Monitor) -> Result<Report> {
        self.surveyed(monitor, |survey, options| {
            let aim = |pair: &Pair<'_>| Some(Aim::fixed(pair, options.policy.round(options.policy.max_rank)));
            let (modules, others) = survey.run(aim, Keep::Spectrum(options.dtype), true)?;
            Ok(survey.extraction(modules, others)?.report(0))
        })
    }
}
