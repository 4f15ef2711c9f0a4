//! How two models, or two adapters, differ.

mod adapters;
mod subspaces;
mod tensors;

pub use adapters::{AdapterDiff, DiffOptions, DiffSummary, ModuleDiff, OneSided, diff_adapters};

use crate::error::Result;
use crate::jobs::extract::ExtractJob;
use crate::jobs::extract::outcome::Keep;
use crate::jobs::extract::plans::Aim;
use crate::pairing::pairs::Pair;
use crate::report::Report;
use crate::run::monitor::Monitor;

impl ExtractJob<'_> {
    /// Reads the models as [`plan`](Self::plan) does, as far as the largest rank of the policy, and reports how far each
    /// tensor moved. Models that do not differ are no error.
    ///
    /// # Errors
    /// As [`extract`](Self::extract), but for [`Error::NothingToExtract`](crate::Error::NothingToExtract) where both
    /// models are the same.
    pub fn diff(&self, monitor: &Monitor) -> Result<Report> {
        // Tensors are ordered by ‖Δ‖/‖W‖.
        self.measured().surveyed(monitor, |survey, options| {
            let aim = |pair: &Pair<'_>| Some(Aim::fixed(pair, options.policy.round(options.policy.max_rank)));
            let (modules, others) = survey.run(aim, Keep::Spectrum(options.dtype), true)?;
            let mut report = survey.gathered(modules, others).report(0);
            report.diff = Some(tensors::compare(&report.modules, &report.left_out));
            Ok(report)
        })
    }
}
