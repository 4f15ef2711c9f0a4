//! What each policy would choose, in bytes of the adapter's files.

use super::rounding::lost_squares;
use crate::error::Result;
use crate::jobs::extract::budget::{self, dtypes, length};
use crate::jobs::extract::extraction::Extraction;
use crate::jobs::extract::survey::Survey;
use crate::report::{Choice, PlanReport, PlanRow, choose, is_decided};
use phlora_core::policy::{Limit, Totals};
use phlora_core::{Dtype, Goal, Policy};

/// Shares of energy that are looked at.
const ENERGIES: [f64; 5] = [0.5, 0.8, 0.9, 0.95, 0.99];

/// Ranks for all whose bytes are given to the modules together.
const BUDGETS: [usize; 4] = [8, 16, 32, 64];

/// The share of the modules' ‖Δ‖² that a recommended rank keeps.
const ENOUGH: f64 = 0.9;

/// The plan by the spectra that were found.
pub(super) fn plan(survey: &Survey<'_>, found: &Extraction) -> Result<PlanReport> {
    let whole = known(found);
    let planner = Planner { survey, report: found.report(0), whole: &whole, dtype: survey.options.dtype };
    let most = found.modules.iter().map(|module| module.report.rank).max().unwrap_or(0);
    let mut ranks: Vec<_> =
        (0..usize::BITS).map(|power| 1_usize << power).take_while(|&rank| rank < most).collect();
    ranks.push(most);
    let by_rank: Vec<_> = ranks.iter().map(|&rank| planner.fixed(rank)).collect::<Result<Vec<_>>>()?;
    let mut policies = Vec::new();
    for share in ENERGIES {
        policies.push(planner.free(Goal::Energy(share))?);
    }
    for share in ENERGIES {
        policies.push(planner.free(Goal::TotalEnergy(share))?);
    }
    policies.push(planner.free(Goal::NoiseFloor)?);
    // In the bytes of a usual rank, so that the two can be compared.
    for row in by_rank.iter().filter(|row| BUDGETS.contains(&row.ranks[1])) {
        policies.extend(planner.budget(row.bytes)?);
    }
    let reached = by_rank.iter().position(|row| row.energy - row.rounding_loss >= ENOUGH);
    let at = reached.unwrap_or(by_rank.len() - 1);
    let beside = match policies.iter().find(|row| row.value == Some(by_rank[at].bytes as f64)) {
        Some(row) => Some(row.clone()),
        None => planner.budget(by_rank[at].bytes)?,
    };
    Ok(PlanReport {
        format: found.format.word().to_owned(),
        searched: most,
        enough: ENOUGH,
        recommended: by_rank[at].clone(),
        reached: reached.is_some(),
        beside: beside.filter(|row| row.worth > by_rank[at].worth),
        by_rank,
        policies,
    })
}

/// The modules with all that is known of them, as if that were their rank.
fn known(found: &Extraction) -> Extraction {
    let mut whole = found.without_factors();
    for module in &mut whole.modules {
        let report = &mut module.report;
        report.singular_values = report.spectrum();
        report.further_singular_values.clear();
    }
    whole
}

struct Planner<'p> {
    survey: &'p Survey<'p>,
    report: crate::report::Report,
    whole: &'p Extraction,
    dtype: Dtype,
}

impl Planner<'_> {
    /// One rank for all.
    fn fixed(&self, rank: usize) -> Result<PlanRow> {
        let policy = Policy::fixed(rank);
        self.row("rank", Some(rank as f64), &policy, &choose(&self.report, &policy, self.dtype), self.dtype)
    }

    /// A goal of each module, or a share of all.
    fn free(&self, goal: Goal) -> Result<PlanRow> {
        let policy = Policy { goal, ..self.free_policy() };
        let (name, value) = match goal {
            Goal::Energy(share) => ("energy", Some(share)),
            Goal::TotalEnergy(share) => ("total energy", Some(share)),
            _ => ("noise floor", None),
        };
        self.row(name, value, &policy, &choose(&self.report, &policy, self.dtype), self.dtype)
    }

    /// As an extraction within `bytes` chooses: the best of all formats, at one rank for all or at ranks of their own. `None` where there is no room.
    fn budget(&self, bytes: u64) -> Result<Option<PlanRow>> {
        let policy = Policy { goal: Goal::Budget(bytes), ..self.free_policy() };
        let (mut rows, mut totals) = (Vec::new(), Vec::new());
        for dtype in dtypes(self.survey.options) {
            for even in [true, false] {
                let Some(found) =
                    budget::choose(self.survey, self.whole, &policy, dtype, Limit::Bytes(bytes), even)?
                else {
                    continue;
                };
                let row =
                    self.row("budget", Some(bytes as f64), &policy, &self.choice(found.ranks), dtype)?;
                let lost = 1.0 - (row.energy - row.rounding_loss);
                totals.push(Totals { worth: row.worth, lost, even });
                rows.push(row);
            }
        }
        Ok(policy.by.best(&totals).map(|at| rows.swap_remove(at)))
    }

    fn free_policy(&self) -> Policy {
        Policy {
            max_rank: usize::MAX,
            uniform: false,
            by: self.survey.options.policy.by,
            ..Policy::default()
        }
    }

    /// What `ranks` keep, and whether more than what is known might have been chosen.
    fn choice(&self, ranks: Vec<usize>) -> Choice {
        let (mut all, mut kept, mut known) = (0.0, 0.0, true);
        for ((module, &rank), found) in self.whole.modules.iter().zip(&ranks).zip(&self.report.modules) {
            let (report, held) = (&module.report, module.report.singular_values.len());
            let squares = report.singular_values.iter().take(rank).map(|&sigma| f64::from(sigma).powi(2));
            all += report.delta_norm.powi(2);
            kept += squares.sum::<f64>();
            known &=
                held >= report.shape[0].min(report.shape[1]) || is_decided(found, rank, &self.free_policy());
        }
        let energy = if all > 0.0 { (kept / all).min(1.0) } else { 1.0 };
        Choice { ranks, bytes: 0, energy, known }
    }

    fn row(
        &self,
        goal: &str,
        value: Option<f64>,
        policy: &Policy,
        choice: &Choice,
        dtype: Dtype,
    ) -> Result<PlanRow> {
        let (mut all, mut lost, mut worth, mut least) = (0.0, 0.0, 0.0, 1.0_f64);
        for (module, &rank) in self.whole.modules.iter().zip(&choice.ranks) {
            let report = &module.report;
            let sigma = &report.singular_values[..rank.min(report.singular_values.len())];
            let squares = report.delta_norm.powi(2);
            let kept = sigma.iter().map(|&sigma| f64::from(sigma).powi(2)).sum::<f64>();
            let rounded = lost_squares(sigma, report.shape[1], dtype)?;
            all += squares;
            lost += rounded;
            least = least.min(((kept - rounded) / squares).clamp(0.0, 1.0));
            let candidate = report.candidate(&report.singular_values, dtype);
            let exact: f64 = (0..sigma.len()).map(|at| candidate.worth(policy.by, at)).sum();
            worth += exact * ((kept - rounded).max(0.0) / kept.max(f64::MIN_POSITIVE)).min(1.0);
        }
        let ranks = || choice.ranks.iter().copied();
        let whole = self.report.total.whole_norm.unwrap_or(0.0).powi(2);
        let rounding_loss = if all > 0.0 { lost / all } else { 0.0 };
        Ok(PlanRow {
            goal: goal.to_owned(),
            value,
            ranks: [ranks().min().unwrap_or(0), ranks().max().unwrap_or(0)],
            energy: choice.energy,
            rounding_loss,
            least_energy: least,
            whole_energy: if whole > 0.0 { (choice.energy - rounding_loss) * all / whole } else { 1.0 },
            bytes: length(self.survey, self.whole, policy, &choice.ranks, None, dtype)?,
            dtype: dtype.name().to_ascii_lowercase(),
            known: choice.known,
            worth,
        })
    }
}
