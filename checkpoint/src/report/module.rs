//! What an extraction found of one module.

use crate::adapter::Factors;
use crate::naming::kind::{kind_path, layer_of, stands_apart};
use crate::source::tensor::Expert;
use phlora_core::policy::Candidate;
use phlora_core::{Dtype, Shape, Spectrum};
use serde::{Deserialize, Serialize};

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
    /// ‖W‖₂ of the base's weight, estimated; with a budget over all modules, and in plans.
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
    pub(crate) tuning_and_repair: Option<(f64, f64)>,
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
            tuning_norm: self.tuning_and_repair.map(|(tuning, _)| tuning),
            repair_norm: self.tuning_and_repair.map(|(_, repair)| repair),
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
    /// Whether more directions than `noise_rank` may be above the noise: it reaches the rank that was looked at, and singular
    /// values beyond that are known from below alone, unless all are known.
    pub fn more_above_noise(&self) -> bool {
        let known = self.singular_values.len() + self.further_singular_values.len();
        known < self.shape[0].min(self.shape[1]) && self.noise_rank >= self.singular_values.len()
    }

    /// The module as one of those that a budget in `dtype` is divided among; `singular_values` are those of it that are known.
    pub(crate) fn candidate<'s>(&self, singular_values: &'s [f32], dtype: Dtype) -> Candidate<'s> {
        let [rows, cols] = self.shape;
        let (shape, sum_squares) = (Shape { rows, cols }, self.delta_norm.powi(2));
        let stretch = self.weight_stretch.filter(|_| !self.weighed).unwrap_or(0.0);
        let apart = stands_apart(&self.name, &self.shape);
        Candidate { spectrum: Spectrum { singular_values, sum_squares, shape }, stretch, apart, dtype }
    }

    /// All singular values that are known, descending.
    pub fn spectrum(&self) -> Vec<f32> {
        [self.singular_values.as_slice(), &self.further_singular_values].concat()
    }
}
