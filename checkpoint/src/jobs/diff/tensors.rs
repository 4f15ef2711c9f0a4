//! How far each tensor of two models moved, from what was measured of it.

use crate::report::{DiffReport, LeftOut, ModuleReport, TensorDiff};

/// What moved of `modules` and of what has no factors.
pub(super) fn compare(modules: &[ModuleReport], left_out: &[LeftOut]) -> DiffReport {
    let squares = modules.iter().map(|module| module.delta_norm.powi(2));
    let all = squares.sum::<f64>() + left_out.iter().map(LeftOut::sum_squares).sum::<f64>();
    let share = |norm: f64| if all > 0.0 { norm * norm / all } else { 0.0 };
    let relative = |norm: f64, weight: Option<f64>| Some(norm / weight.filter(|weight| *weight > 0.0)?);
    let of_module = |module: &ModuleReport| TensorDiff {
        name: module.name.clone(),
        kind: module.kind.clone(),
        change: relative(module.delta_norm, module.weight_norm),
        delta_norm: module.delta_norm,
        share: share(module.delta_norm),
        effective_rank: Some(effective_rank(module)),
        noise_rank: Some(module.noise_rank),
        more_above_noise: module.more_above_noise(),
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
    DiffReport {
        tensors,
        unchanged: left_out.iter().filter(same).count(),
        not_compared: left_out.iter().filter(|tensor| tensor.delta_norm.is_none()).count(),
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
