//! The report of an extraction; `docs/report.md` documents its JSON form.

use crate::adapter::Factors;
use crate::error::{Error, Result};
use crate::naming::kind::{kind_path, layer_of};
use crate::source::json::{Json, read_json};
use crate::source::tensor::Expert;
use phlora_core::policy::Candidate;
use phlora_core::{Dtype, Goal, Policy, Shape, Spectrum};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::Path;

mod curve;
mod diff;
mod files;
mod note;
mod origin;
mod plan;

pub(crate) use curve::energy_by_bytes;
pub use curve::{Choice, choose};
pub use diff::{DiffReport, KindDiff, TensorDiff};
pub(crate) use files::{PAGE, REPORT, stage_page, stage_report};
pub use files::{save_adapter_diff, save_modelfile, save_page, save_report};
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

/// One extracted module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModuleReport {
    /// Path of the module in the checkpoint. Of rows of several tensors that are one weight in memory
    /// `…experts.3.gate_proj+up_proj`, of some rows of one `…mlp.weights_in[0:96]`.
    pub name: String,
    /// Its path in the adapter, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// [out, in], also where the weight is stored transposed; of a convolution [out, in·kernel].
    pub shape: [usize; 2],
    /// The kernel's axes of a convolution, as [3, 3]; empty where the weight is a matrix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<usize>,
    /// The layer it belongs to: its path as far as the first number; empty where there is none.
    #[serde(default)]
    pub layer: String,
    /// Its path within the layer, further numbers as `*`.
    #[serde(default)]
    pub kind: String,
    /// Rank of its factors, before padding to the adapter's rank.
    pub rank: usize,
    /// Σσ²kept / ‖Δ‖²_F, before the factors are rounded.
    pub energy: f64,
    /// ‖Δ‖_F.
    pub delta_norm: f64,
    /// Kept singular values, descending.
    pub singular_values: Vec<f32>,
    /// Reads of the weight.
    pub reads: u32,
    /// Whether the tolerance was met.
    pub converged: bool,
    /// Share of ‖Δ‖²_F that rounding the factors to their format takes from `energy`.
    #[serde(default)]
    pub rounding_loss: f64,
    /// Which expert of the module's stack it is, where the model stacks them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert: Option<Expert>,
    /// With a deployed base: ‖tuned − base‖_F, what fine-tuning changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning_norm: Option<f64>,
    /// With a deployed base: ‖base − deployed‖_F, what there is to repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_norm: Option<f64>,
    /// Whether its input channels were weighed: Δ stands for Δ·diag(s) then, in all norms, singular values and shares.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weighed: bool,
    /// Singular values beyond the rank as far as they are known, descending: bounds from below.
    #[serde(default)]
    pub further_singular_values: Vec<f32>,
    /// The largest singular value that noise of the norm that is left would have.
    #[serde(default)]
    pub noise_floor: f64,
    /// Known singular values above it.
    #[serde(default)]
    pub noise_rank: usize,
    /// Bytes of both factors.
    #[serde(default)]
    pub bytes: u64,
    /// ‖W‖_F of the base's weight, estimated from some of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_norm: Option<f64>,
    /// ‖W‖₂ of the base's weight, estimated; where modules share a budget, and in plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_stretch: Option<f64>,
}

/// What an extraction measured of one module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'m> {
    pub(crate) name: &'m str,
    /// [out, in].
    pub(crate) shape: [usize; 2],
    /// As in [`ModuleReport`].
    pub(crate) kernel: &'m [usize],
    pub(crate) singular_values: &'m [f32],
    /// Pairs that the factors can have.
    pub(crate) held: usize,
    pub(crate) sum_squares: f64,
    pub(crate) reads: u32,
    pub(crate) converged: bool,
    pub(crate) expert: Option<Expert>,
    /// ‖tuned − base‖_F and ‖base − deployed‖_F, with a deployed base.
    pub(crate) parts: Option<(f64, f64)>,
    pub(crate) weighed: bool,
}

impl Measured<'_> {
    /// The report of the module at `rank`, with `factors` if there are any.
    pub(crate) fn report(&self, rank: usize, factors: Option<&Factors>) -> ModuleReport {
        let [rows, cols] = self.shape;
        let spectrum = Spectrum {
            singular_values: self.singular_values,
            sum_squares: self.sum_squares,
            shape: Shape { rows, cols },
        };
        let noise = spectrum.noise();
        let (kept, further) = self.singular_values.split_at(rank.min(self.singular_values.len()));
        let known = further.iter().position(|&sigma| sigma <= 0.0).unwrap_or(further.len());
        ModuleReport {
            name: self.name.to_owned(),
            memory: None,
            shape: self.shape,
            kernel: self.kernel.to_vec(),
            layer: layer_of(self.name).to_owned(),
            kind: kind_path(self.name),
            rank,
            energy: spectrum.energy(rank.min(self.held)),
            delta_norm: self.sum_squares.sqrt(),
            singular_values: kept.to_vec(),
            reads: self.reads,
            converged: self.converged,
            rounding_loss: factors.map_or(0.0, |factors| factors.lost_squares / self.sum_squares),
            expert: self.expert,
            tuning_norm: self.parts.map(|(tuning, _)| tuning),
            repair_norm: self.parts.map(|(_, repair)| repair),
            weighed: self.weighed,
            further_singular_values: further[..known].to_vec(),
            noise_floor: noise.floor,
            noise_rank: noise.rank,
            bytes: factors.map_or(0, Factors::bytes),
            weight_norm: None,
            weight_stretch: None,
        }
    }
}

impl ModuleReport {
    /// The module beside others that share a budget in `dtype`; `singular_values` are those of it that are known.
    pub(crate) fn candidate<'s>(&self, singular_values: &'s [f32], dtype: Dtype) -> Candidate<'s> {
        let [rows, cols] = self.shape;
        let (shape, sum_squares) = (Shape { rows, cols }, self.delta_norm.powi(2));
        let stretch = self.weight_stretch.filter(|_| !self.weighed).unwrap_or(0.0);
        Candidate { spectrum: Spectrum { singular_values, sum_squares, shape }, stretch, dtype }
    }

    /// All singular values that are known, descending.
    pub fn spectrum(&self) -> Vec<f32> {
        [self.singular_values.as_slice(), &self.further_singular_values].concat()
    }
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

    /// Whether it is part of a layer that is stored whole on request, by [`Layers::All`](crate::Layers::All).
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
