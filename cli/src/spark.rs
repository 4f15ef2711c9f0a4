//! Spectra in a line of text: one block character per singular value.

use crate::print::percent;
use crate::table::Table;
use phlora::ModuleReport;
use std::collections::BTreeMap;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Directions that are shown, from 1: every one first, then fewer and fewer.
const SHOWN: [usize; 16] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// A table of the mean spectrum of each kind of module: σ over the first, and how many stand above the noise.
pub fn by_kind(modules: &[ModuleReport]) -> String {
    let mut kinds = BTreeMap::<&str, Vec<&ModuleReport>>::new();
    for module in modules {
        kinds.entry(&module.kind).or_default().push(module);
    }
    let all: f64 = modules.iter().map(|module| module.delta_norm.powi(2)).sum();
    let mut table = Table::new(&["kind", "σ₁ … σₙ", "n", "above noise", "‖Δ‖/‖W‖", "of ‖Δ‖²"]);
    for (kind, modules) in kinds {
        let spectra: Vec<_> = modules.iter().map(|module| module.spectrum()).collect();
        let known = spectra.iter().map(Vec::len).min().unwrap_or(0);
        let shown: Vec<_> = SHOWN.iter().copied().filter(|&n| n <= known).collect();
        let share: f64 = modules.iter().map(|module| module.delta_norm.powi(2)).sum();
        let ranks = || modules.iter().map(|module| module.noise_rank);
        let (least, most) = (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0));
        let more = if modules.iter().any(|module| module.more_above_noise()) { "≥ " } else { "" };
        table.row(vec![
            if kind.is_empty() { "(module)".to_owned() } else { kind.to_owned() },
            line(&shown.iter().map(|&n| mean(&spectra, n)).collect::<Vec<_>>()),
            shown.last().map_or(String::new(), ToString::to_string),
            format!("{more}{}", if least == most { least.to_string() } else { format!("{least} to {most}") }),
            relative(&modules),
            if all > 0.0 { percent(share / all) } else { percent(0.0) },
        ]);
    }
    table.render()
}

/// ‖Δ‖/‖W‖ over modules, where it is known.
fn relative(modules: &[&ModuleReport]) -> String {
    let known =
        || modules.iter().filter_map(|module| Some((module.delta_norm.powi(2), module.weight_norm?.powi(2))));
    let (delta, weight) = known().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    if weight > 0.0 { percent((delta / weight).sqrt()) } else { String::new() }
}

/// Mean of σₙ/σ₁ over modules.
fn mean(spectra: &[Vec<f32>], n: usize) -> f64 {
    let one = |spectrum: &Vec<f32>| f64::from(spectrum[n - 1]) / f64::from(spectrum[0]);
    spectra.iter().map(one).sum::<f64>() / spectra.len().max(1) as f64
}

/// Values from 0 to 1 as blocks of eight heights.
fn line(values: &[f64]) -> String {
    #[allow(clippy::cast_sign_loss)] // clamped
    let block = |value: &f64| BLOCKS[((value.clamp(0.0, 1.0) * 8.0) as usize).min(BLOCKS.len() - 1)];
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_values() {
        assert_eq!(line(&[1.0, 0.5, 0.124, 0.0, f64::NAN, 2.0]), "█▅▁▁▁█");
    }
}
