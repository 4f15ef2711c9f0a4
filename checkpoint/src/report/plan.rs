//! What a plan recommends, and what it was chosen from.

use crate::units::{bytes, percent};
use serde::{Deserialize, Serialize};

/// What each policy would choose by the spectra of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// File format of the adapter that is planned: `peft`, `gguf`, `kohya` or `comfy`.
    pub format: String,
    /// The rank as far as which the spectra were looked at.
    pub searched: usize,
    /// The share of the modules' ‖Δ‖² that the recommended rank keeps.
    pub enough: f64,
    /// The smallest rank of `by_rank` that keeps `enough`, or the largest one.
    pub recommended: PlanRow,
    /// Whether it does. If not, a larger rank is needed than was looked at.
    pub reached: bool,
    /// What the bytes of the recommended rank are worth divided among the modules, where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<PlanRow>,
    /// One rank for all.
    pub by_rank: Vec<PlanRow>,
    /// Energies, the noise floor, and budgets of the bytes of usual ranks.
    pub policies: Vec<PlanRow>,
}

/// What one policy would choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanRow {
    /// `rank`, `energy`, `total energy`, `noise floor` or `budget`.
    pub goal: String,
    /// The rank, the share of energy or the bytes.
    pub value: Option<f64>,
    /// The smallest and the largest rank of a module; 0: left out.
    pub ranks: [usize; 2],
    /// Kept share of the modules' ‖Δ‖², before the factors are rounded.
    pub energy: f64,
    /// What rounding takes from it, estimated.
    pub rounding_loss: f64,
    /// The least that a module keeps of its own, after rounding.
    pub least_energy: f64,
    /// Kept share of the whole difference of the two models, after rounding.
    pub whole_energy: f64,
    /// Bytes of the adapter's files.
    pub bytes: u64,
    /// Storage format of the factors.
    pub dtype: String,
    /// Whether the known singular values decide it; if not, ranks, bytes and energies are at least these.
    pub known: bool,
    /// What it is worth by the criterion of budgets; compares rows of one plan.
    pub worth: f64,
}

impl PlanReport {
    /// Which rank, and why: the answer first, then what it is beside others. `option` says how a row is asked for,
    /// `further` what makes the search go on.
    pub fn answer(&self, option: impl Fn(&PlanRow) -> String, further: &str) -> Vec<String> {
        let (row, enough) = (&self.recommended, percent(self.enough));
        let first = if self.reached {
            format!("take {}: the smallest of these ranks that keeps {enough}", option(row))
        } else {
            let searched = self.searched;
            format!(
                "take a rank ≥ {searched}: {further}, since the search ended there and {enough} needs more"
            )
        };
        let others = self
            .neighbours()
            .map(|other| format!("; rank {} keeps {}", other.ranks[1], percent(other.kept())));
        let others = others.collect::<Vec<_>>().concat();
        let what = format!(
            "it keeps {} of the modules' ‖Δ‖² and {} of the whole difference in {}{others}",
            percent(row.kept()),
            percent(row.whole_energy),
            bytes(row.bytes)
        );
        let beside = self.beside.as_ref().map(|beside| {
            let dtype =
                if beside.dtype == row.dtype { String::new() } else { format!(" in {}", beside.dtype) };
            let (kept, [least, most]) = (beside.energy_text(percent(beside.kept())), beside.ranks);
            format!(
                "in the same bytes {} keeps {kept}{dtype}, at ranks from {least} to {most}",
                option(beside)
            )
        });
        [first, what].into_iter().chain(beside).collect()
    }

    /// The ranks below and above the recommended one.
    fn neighbours(&self) -> impl Iterator<Item = &PlanRow> {
        let at = self.by_rank.iter().position(|row| *row == self.recommended).unwrap_or(0);
        let below = at.checked_sub(1).and_then(|at| self.by_rank.get(at));
        below.into_iter().chain(self.by_rank.get(at + 1))
    }
}

impl PlanRow {
    /// The energy after rounding.
    pub fn kept(&self) -> f64 {
        self.energy - self.rounding_loss
    }

    /// Ranks or bytes as they are shown: where singular values are not known far enough, a share of energy may need fewer or
    /// more, a noise floor needs at least as many, and a budget has them in any case.
    pub fn choice_text(&self, figure: String) -> String {
        match self.goal.as_str() {
            "energy" | "total energy" if !self.known => "–".to_owned(),
            "noise floor" if !self.known => format!("≥ {figure}"),
            _ => figure,
        }
    }

    /// The same of what is kept.
    pub fn energy_text(&self, figure: String) -> String {
        match self.goal.as_str() {
            _ if self.known => figure,
            "energy" | "total energy" => "–".to_owned(),
            _ => format!("≥ {figure}"),
        }
    }
}
