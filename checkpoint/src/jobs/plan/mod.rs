//! What ranks and budgets would keep, without factors: the spectra, and what each policy would choose by them.

mod choices;
mod rounding;

use crate::adapter::AdapterFormat;
use crate::error::{Error, Result};
use crate::jobs::extract::ExtractJob;
use crate::jobs::extract::outcome::Keep;
use crate::jobs::extract::plans::Aim;
use crate::pairing::pairs::Pair;
use crate::report::Report;
use crate::run::monitor::Monitor;

impl ExtractJob<'_> {
    /// Reads the models as [`extract`](Self::extract) does and reports the spectra, without factors: every module as it
    /// would be at the largest rank of the policy. The report's `plan` says what each policy would choose for the
    /// format of the options, in bytes of its files.
    ///
    /// # Errors
    /// As [`extract`](Self::extract); and for phlora's own form, which has bits for each direction and no ranks.
    pub fn plan(&self, monitor: &Monitor) -> Result<Report> {
        self.surveyed(monitor, |survey, options| {
            if options.format == AdapterFormat::Phlora {
                let problem = "a plan weighs ranks, but the compact form chooses the bits of each direction: extract it at a \
                               budget instead";
                return Err(Error::usage(problem.into()));
            }
            let aim = |pair: &Pair<'_>| Some(Aim::fixed(pair, options.policy.round(options.policy.max_rank)));
            let (modules, others) = survey.run(aim, Keep::Spectrum(options.dtype), true)?;
            let found = survey.extraction(modules, others)?;
            let plan = choices::plan(survey, &found)?;
            let mut report = found.report(0);
            report.plan = Some(plan);
            Ok(report)
        })
    }
}
