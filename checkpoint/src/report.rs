//! The report of an extraction; `REPORT.md` beside this crate documents its JSON form.

use crate::model::Expert;
use serde::{Deserialize, Serialize};

/// Version of the JSON form; it grows when a field changes its meaning or goes away.
pub const REPORT_VERSION: u32 = 1;

/// What was extracted, what was left out, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Version of phlora that wrote it.
    pub phlora: String,
    /// Extracted modules, sorted by name.
    pub modules: Vec<ModuleReport>,
    /// Sums over the extracted modules.
    pub total: Total,
    /// Tensors without factors, sorted by name.
    pub left_out: Vec<LeftOut>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Bytes read of both checkpoints, every read counted.
    pub bytes_in: u64,
    /// Bytes of the adapter's files.
    pub bytes_out: u64,
}

/// One extracted module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleReport {
    /// Path of the module.
    pub name: String,
    /// [out, in], also where the weight is stored transposed.
    pub shape: [usize; 2],
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
}

/// Sums over the extracted modules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// Kept energy over all of them.
    pub energy: f64,
    /// √Σ‖Δ‖²_F.
    pub delta_norm: f64,
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

/// A tensor without factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Full name of the tensor.
    pub name: String,
    /// Why; what stands before a colon is the group it is counted in.
    pub reason: String,
    /// ‖Δ‖_F; absent where the sides cannot be compared.
    pub delta_norm: Option<f64>,
}

/// Whether `json` is a report, of whatever version.
pub(crate) fn is_report(json: &serde_json::Value) -> bool {
    json["phlora"].is_string() && json["modules"].is_array()
}

impl LeftOut {
    /// The group of its reason.
    pub fn group(&self) -> &str {
        self.reason.split(':').next().unwrap_or_default()
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
        Self { energy, delta_norm: all.sqrt(), parameters_in, parameters_out, tuning_norm, repair_norm }
    }
}
