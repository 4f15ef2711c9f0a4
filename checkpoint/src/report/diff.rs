//! How far each tensor of a model moved.

use crate::units::percent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// ‖Δ‖/‖W‖; absent where ‖W‖ is 0 or not known.
    pub change: Option<f64>,
    /// ‖Δ‖_F.
    pub delta_norm: f64,
    /// Share of ‖Δ‖² over all tensors.
    pub share: f64,
    /// (Σσ²)²/Σσ⁴: how many directions of one length would have the same fourth moment. Directions that are not
    /// known count as equally long. Of modules alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_rank: Option<f64>,
    /// Singular values above the noise floor, as far as they are known. Of modules alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_rank: Option<usize>,
    /// Whether there may be more: it reaches the rank that was looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_above_noise: bool,
}

/// The tensors of one kind.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KindDiff<'d> {
    /// The kind.
    pub name: &'d str,
    /// How many there are.
    pub tensors: usize,
    /// Their share of ‖Δ‖².
    pub share: f64,
    /// The smallest and the largest ‖Δ‖/‖W‖ of those where it is known.
    pub change: Option<[f64; 2]>,
    /// The smallest and the largest effective rank.
    pub effective: Option<[f64; 2]>,
    /// The fewest and the most directions above the noise.
    pub noise: Option<[usize; 2]>,
    /// Whether there may be more above it.
    pub more: bool,
}

impl DiffReport {
    /// What moved most, in a line; `norm` is ‖Δ‖ over all tensors.
    pub fn answer(&self, norm: f64) -> String {
        let kinds = self.kinds();
        let share = kinds
            .first()
            .map_or(String::new(), |kind| format!("{} of ‖Δ‖² is in {}", percent(kind.share), kind.name));
        let moved = self.tensors.first().and_then(|tensor| {
            Some(format!("; for its size {} moved most, by {} of ‖W‖", tensor.name, percent(tensor.change?)))
        });
        format!("‖Δ‖ {norm:.4} in {} tensors: {share}{}", self.tensors.len(), moved.unwrap_or_default())
    }

    /// The kinds, what holds the most of ‖Δ‖² first.
    pub fn kinds(&self) -> Vec<KindDiff<'_>> {
        let mut kinds = BTreeMap::<&str, Vec<&TensorDiff>>::new();
        for tensor in &self.tensors {
            kinds.entry(&tensor.kind).or_default().push(tensor);
        }
        let spread = |values: Vec<f64>| {
            let least = values.iter().copied().reduce(f64::min)?;
            Some([least, values.iter().copied().fold(least, f64::max)])
        };
        let mut found = Vec::new();
        for (name, tensors) in kinds {
            let noise = || tensors.iter().filter_map(|tensor| tensor.noise_rank);
            found.push(KindDiff {
                name: if name.is_empty() { "(module)" } else { name },
                tensors: tensors.len(),
                share: tensors.iter().map(|tensor| tensor.share).sum(),
                change: spread(tensors.iter().filter_map(|tensor| tensor.change).collect()),
                effective: spread(tensors.iter().filter_map(|tensor| tensor.effective_rank).collect()),
                noise: noise().min().zip(noise().max()).map(|(least, most)| [least, most]),
                more: tensors.iter().any(|tensor| tensor.more_above_noise),
            });
        }
        found.sort_by(|a, b| b.share.total_cmp(&a.share));
        found
    }
}

impl KindDiff<'_> {
    /// Number, share of ‖Δ‖², ‖Δ‖/‖W‖, effective rank, directions above the noise, for a table.
    pub fn figures(&self) -> [String; 5] {
        let more = if self.more { "≥ " } else { "" };
        let noise = span(self.noise.map(|values| values.map(|value| value.to_string())));
        [
            self.tensors.to_string(),
            percent(self.share),
            span(self.change.map(|values| values.map(percent))),
            span(self.effective.map(|values| values.map(|value| format!("{value:.0}")))),
            format!("{more}{noise}"),
        ]
    }
}

/// A value, or the smallest and the largest.
fn span(values: Option<[String; 2]>) -> String {
    match values {
        None => "–".to_owned(),
        Some([least, most]) if least == most => most,
        Some([least, most]) => format!("{least} to {most}"),
    }
}
