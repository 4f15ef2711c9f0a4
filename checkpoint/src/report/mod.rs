//! The report of an extraction; `docs/report.md` documents its JSON form.

use crate::error::{Error, Result};
use crate::source::json::Json;
use crate::source::json_file::read_json;
use phlora_core::{Goal, Policy};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::Path;

mod curve;
mod diff;
mod files;
mod module;
mod note;
mod origin;
mod plan;

pub use curve::{Choice, choose};
pub(crate) use curve::{energy_by_bytes, is_decided};
pub use diff::{DiffReport, KindDiff, TensorDiff};
pub(crate) use files::{PAGE, REPORT, stage_page, stage_report};
pub use files::{check_modelfile, save_adapter_diff, save_modelfile, save_page, save_report};
pub(crate) use module::Measured;
pub use module::ModuleReport;
pub use note::Note;
pub use origin::Origin;
pub use plan::{PlanReport, PlanRow};

/// Version of the JSON form; it grows when a field changes its meaning or goes away.
pub const REPORT_VERSION: u32 = 1;

/// Most notes of a report.
const MAX_NOTES: usize = 1 << 16;

/// What was extracted, what was left out, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Version of phlora that wrote it.
    pub phlora: String,
    /// How the ranks were chosen.
    #[serde(default)]
    pub policy: Option<PolicyReport>,
    /// Storage format of the factors; one whose blocks do not fit is in f16.
    #[serde(default)]
    pub dtype: String,
    /// Extracted modules, sorted by name.
    pub modules: Vec<ModuleReport>,
    /// What is stored beside the factors, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<FullReport>,
    /// Sums over the extracted modules.
    pub total: Total,
    /// Tensors that the adapter does not change, sorted by name.
    pub left_out: Vec<LeftOut>,
    /// What so many bytes of factors would keep of the extracted modules, as far as their singular values are known.
    #[serde(default)]
    pub curve: Vec<CurvePoint>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Bytes read of both checkpoints, every read counted.
    pub bytes_in: u64,
    /// Bytes of the adapter's files.
    pub bytes_out: u64,
    /// Which models it is of, and when and how it was made; absent in reports of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What each policy would choose; in the reports of plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanReport>,
    /// How far each tensor moved; in the reports of comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<DiffReport>,
    /// What is to be known of the pair, the options and the adapter, as it was said.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "notes")]
    pub notes: Vec<Note>,
}

/// How the ranks were chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyReport {
    /// `rank`, `energy`, `total energy`, `noise floor` or `budget`.
    pub goal: String,
    /// The share of energy or the bytes that were asked for.
    pub value: Option<f64>,
    /// The largest rank; the rank itself with the goal `rank`. Absent: no limit.
    pub max_rank: Option<usize>,
    /// Ranks are multiples of it.
    pub multiple: usize,
    /// One rank for all modules.
    pub uniform: bool,
    /// In which order modules that are chosen together get bytes: `relative` or `energy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl From<Policy> for PolicyReport {
    fn from(policy: Policy) -> Self {
        let (goal, value) = match policy.goal {
            Goal::Fixed => ("rank", None),
            Goal::Energy(share) => ("energy", Some(share)),
            Goal::TotalEnergy(share) => ("total energy", Some(share)),
            Goal::NoiseFloor => ("noise floor", None),
            Goal::Budget(bytes) => ("budget", Some(bytes as f64)),
        };
        Self {
            goal: goal.to_owned(),
            value,
            max_rank: (policy.max_rank < usize::MAX).then_some(policy.max_rank),
            multiple: policy.multiple,
            uniform: policy.uniform,
            by: policy.goal.limit().map(|_| policy.by.name().to_owned()),
        }
    }
}

impl fmt::Display for PolicyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.goal.as_str(), self.value, self.max_rank) {
            ("rank", _, Some(rank)) => write!(f, "rank {rank}"),
            (goal, Some(value), _) => write!(f, "{goal} {value}"),
            (goal, None, _) => f.write_str(goal),
        }
    }
}

/// A point of the curve of energy by bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Bytes of factors.
    pub bytes: u64,
    /// Share of ‖Δ‖² over the extracted modules.
    pub energy: f64,
}

/// Sums over the extracted modules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Total {
    /// Kept energy over all of them.
    pub energy: f64,
    /// √Σ‖Δ‖²_F.
    pub delta_norm: f64,
    /// Share of the whole difference of the two models, as far as it can be measured, that the adapter keeps, after
    /// the factors are rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_energy: Option<f64>,
    /// ‖Δ‖_F of the whole difference: of the modules, of what is stored beside factors, and of what is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_norm: Option<f64>,
    /// Weights in the extracted modules.
    pub parameters_in: u64,
    /// Weights in the adapter.
    pub parameters_out: u64,
    /// With a deployed base: √Σ‖tuned − base‖²_F.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning_norm: Option<f64>,
    /// With a deployed base: √Σ‖base − deployed‖²_F.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_norm: Option<f64>,
}

/// A tensor that is stored beside the factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FullReport {
    /// Full name of the tensor.
    pub name: String,
    /// `norm`, `bias`, `tokens` or `head`.
    pub kind: String,
    /// Whether the base has no such tensor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_new: bool,
    /// Number of rows that are stored, where it is not the whole tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// How many of them the base lacks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub new_rows: usize,
    /// ‖Δ‖_F, over what the base has of it.
    pub delta_norm: f64,
    /// Bytes of the values.
    pub bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A tensor without factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// Full name of the tensor.
    pub name: String,
    /// Why; what stands before a colon is the group it is counted in.
    pub reason: String,
    /// ‖Δ‖_F; absent where the sides cannot be compared.
    pub delta_norm: Option<f64>,
    /// ‖W‖_F of the base's tensor, estimated from some of its rows, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_norm: Option<f64>,
}

/// The group of layers that are stored whole on request alone.
pub(crate) const WHOLE_LAYER: &str = "layer that PEFT takes whole";

/// Reads a report.
///
/// # Errors
/// When the file is no report, or one of a version that is not known.
pub fn read_report(path: &Path) -> Result<Report> {
    let text = read_json(path)?;
    if !is_report(text.root()) {
        return Err(Error::format(path, "not a report of phlora"));
    }
    let version = text.root().at("version");
    if version.size() != Some(REPORT_VERSION as usize) {
        let problem = format!("a report of version {version}, expected {REPORT_VERSION}");
        return Err(Error::format(path, problem));
    }
    serde_json::from_str(text.text()).map_err(|e| Error::format(path, format!("not a sound report: {e}")))
}

/// Whether `json` is a report, of whatever version.
fn is_report(json: Json<'_>) -> bool {
    json.at("phlora").text().is_some() && json.at("modules").is_array()
}

/// Notes, at most as many as a report has tensors.
fn notes<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Note>, D::Error> {
    struct Notes;
    impl<'de> Visitor<'de> for Notes {
        type Value = Vec<Note>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_NOTES} notes")
        }
        fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> std::result::Result<Vec<Note>, S::Error> {
            let mut notes = Vec::new();
            while let Some(note) = list.next_element()? {
                if notes.len() == MAX_NOTES {
                    return Err(S::Error::invalid_length(notes.len() + 1, &self));
                }
                notes.push(note);
            }
            Ok(notes)
        }
    }
    deserializer.deserialize_seq(Notes)
}

impl LeftOut {
    /// The group of its reason.
    pub fn group(&self) -> &str {
        self.reason.split(':').next().unwrap_or_default()
    }

    /// Whether it belongs to a layer that is stored whole on request, by [`Layers::All`](crate::Layers::All).
    pub fn is_whole_layer(&self) -> bool {
        self.group() == WHOLE_LAYER
    }

    /// ‖Δ‖²_F, 0 where unknown.
    pub fn sum_squares(&self) -> f64 {
        self.delta_norm.unwrap_or_default().powi(2)
    }
}

impl Total {
    pub(crate) fn of<'m>(modules: impl Iterator<Item = &'m ModuleReport>, parameters_out: u64) -> Self {
        let (mut all, mut kept, mut parameters_in) = (0.0, 0.0, 0);
        let (mut tuning, mut repair) = (None, None);
        for module in modules {
            let squares = module.delta_norm * module.delta_norm;
            all += squares;
            kept += module.energy * squares;
            for (sum, norm) in [(&mut tuning, module.tuning_norm), (&mut repair, module.repair_norm)] {
                *sum = norm.map_or(*sum, |norm| Some(sum.unwrap_or(0.0) + norm * norm));
            }
            parameters_in += module.shape[0] as u64 * module.shape[1] as u64;
        }
        let energy = if all > 0.0 { kept / all } else { 1.0 };
        let (tuning_norm, repair_norm) = (tuning.map(f64::sqrt), repair.map(f64::sqrt));
        Self {
            energy,
            delta_norm: all.sqrt(),
            whole_energy: None,
            whole_norm: None,
            parameters_in,
            parameters_out,
            tuning_norm,
            repair_norm,
        }
    }

    /// The same with the shares of the whole difference.
    pub(crate) fn of_whole<'m>(
        self,
        modules: impl Iterator<Item = &'m ModuleReport>,
        full: impl Iterator<Item = &'m FullReport>,
        left_out: &[LeftOut],
    ) -> Self {
        let kept = modules.map(|module| (module.energy - module.rounding_loss) * module.delta_norm.powi(2));
        let full: f64 = full.map(|tensor| tensor.delta_norm.powi(2)).sum();
        let kept = kept.sum::<f64>() + full;
        let all = self.delta_norm.powi(2) + full + left_out.iter().map(LeftOut::sum_squares).sum::<f64>();
        let share = if all > 0.0 { kept / all } else { 1.0 };
        Self { whole_energy: Some(share), whole_norm: Some(all.sqrt()), ..self }
    }
}
