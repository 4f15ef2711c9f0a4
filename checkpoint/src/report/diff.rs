//! How far each tensor of a model moved.

use super::{LeftOut, ModuleReport};
use serde::{Deserialize, Serialize};

/// The tensors of two models that differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiffReport {
    /// Those that differ and can be compared, what moved most for its size first.
    pub tensors: Vec<TensorDiff>,
    /// How many do not differ.
    pub unchanged: usize,
    /// How many one side alone has, or whose sides cannot be compared.
    pub not_compared: usize,
}

/// How far one tensor moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TensorDiff {
    /// The path of a module of the report, or the name of a tensor without factors.
    pub name: String,
    /// The kind of a module (`mlp.down_proj`); of others what they are (`norm`, `embedding`, …).
    pub kind: String,
    /// ‖Δ‖/‖W‖, ‖W‖ being an estimate; absent where that is 0 or not known.
    pub change: Option<f64>,
    /// ‖Δ‖_F.
    pub delta_norm: f64,
    /// Share of ‖Δ‖² over all tensors.
    pub share: f64,
    /// (Σσ²)²/Σσ⁴: how many directions of one length would have the same fourth moment. Directions that are not
    /// known count as equally long. Of modules alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_rank: Option<f64>,
    /// Known singular values above the noise floor. Of modules alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_rank: Option<usize>,
    /// Whether all that are known are above it, so that there may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_above_noise: bool,
}

impl DiffReport {
    pub(crate) fn of(modules: &[ModuleReport], left_out: &[LeftOut]) -> Self {
        let squares = modules.iter().map(|module| module.delta_norm.powi(2));
        let all = squares.sum::<f64>() + left_out.iter().map(LeftOut::sum_squares).sum::<f64>();
        let share = |norm: f64| if all > 0.0 { norm * norm / all } else { 0.0 };
        let relative = |norm: f64, weight: Option<f64>| Some(norm / weight.filter(|weight| *weight > 0.0)?);
        let of_module = |module: &ModuleReport| {
            let known = module.singular_values.len() + module.further_singular_values.len();
            TensorDiff {
                name: module.name.clone(),
                kind: module.kind.clone(),
                change: relative(module.delta_norm, module.weight_norm),
                delta_norm: module.delta_norm,
                share: share(module.delta_norm),
                effective_rank: Some(effective_rank(module)),
                noise_rank: Some(module.noise_rank),
                more_above_noise: module.noise_rank == known && known < module.shape[0].min(module.shape[1]),
            }
        };
        let of_other = |tensor: &LeftOut| {
            let norm = tensor.delta_norm.filter(|norm| *norm > 0.0)?;
            Some(TensorDiff {
                name: tensor.name.clone(),
                kind: tensor.group().to_owned(),
                change: relative(norm, tensor.weight_norm),
                delta_norm: norm,
                share: share(norm),
                effective_rank: None,
                noise_rank: None,
                more_above_noise: false,
            })
        };
        let mut tensors: Vec<_> =
            modules.iter().map(of_module).chain(left_out.iter().filter_map(of_other)).collect();
        let moved = |tensor: &TensorDiff| tensor.change.unwrap_or(0.0);
        tensors.sort_by(|a, b| moved(b).total_cmp(&moved(a)).then_with(|| a.name.cmp(&b.name)));
        let same = |tensor: &&LeftOut| tensor.delta_norm == Some(0.0);
        Self {
            tensors,
            unchanged: left_out.iter().filter(same).count(),
            not_compared: left_out.iter().filter(|tensor| tensor.delta_norm.is_none()).count(),
        }
    }
}

/// As in [`TensorDiff::effective_rank`].
fn effective_rank(module: &ModuleReport) -> f64 {
    let (mut kept, mut fourth, mut known) = (0.0, 0.0, 0_usize);
    for sigma in module.singular_values.iter().chain(&module.further_singular_values) {
        let square = f64::from(*sigma).powi(2);
        (kept, fourth, known) = (kept + square, fourth + square * square, known + 1);
    }
    let all = module.delta_norm.powi(2);
    let others = module.shape[0].min(module.shape[1]).saturating_sub(known);
    let rest = (all - kept).max(0.0);
    if others > 0 {
        fourth += rest * rest / others as f64;
    }
    if fourth > 0.0 { all * all / fourth } else { 0.0 }
}
