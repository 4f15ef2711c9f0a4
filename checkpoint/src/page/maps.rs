//! What the maps of each kind of page show.

use super::heat::{Joined, Map, Value, section};
use super::plot::short;
use crate::{AdapterDiff, ModuleReport, Report};
use maud::Markup;

/// The share without the sign, to save room: 61 for 61.3 %.
fn cents(share: f64) -> String {
    let cents = 100.0 * share;
    if cents < 9.95 { format!("{cents:.1}") } else { format!("{cents:.0}") }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn map<'r>(
    modules: &'r [ModuleReport],
    (id, title): (&'static str, &'static str),
    joined: Joined,
    shown: fn(f64) -> String,
    value: impl Fn(&ModuleReport) -> Option<f64>,
) -> Map<'r> {
    let one = |module: &'r ModuleReport| {
        let weight = module.delta_norm.powi(2);
        Some(Value { layer: &module.layer, kind: &module.kind, number: value(module)?, weight })
    };
    Map { id, title, joined, shown, values: modules.iter().filter_map(one).collect() }
}

/// Share of ‖Δ‖² over the modules.
fn share(report: &Report) -> impl Fn(&ModuleReport) -> Option<f64> {
    let all = report.total.delta_norm.powi(2);
    move |module| (all > 0.0).then(|| module.delta_norm.powi(2) / all)
}

fn change(module: &ModuleReport) -> Option<f64> {
    Some(module.delta_norm / module.weight_norm.filter(|norm| *norm > 0.0)?)
}

/// Of an extraction.
pub fn extraction(report: &Report) -> Markup {
    let modules = &report.modules;
    section(
        "Where it is kept",
        "By layer and kind of module; what is the same everywhere is left out. In per cent, but for ranks.",
        &[
            map(modules, ("map-energy", "kept energy"), Joined::Mean, cents, |module| Some(module.energy)),
            map(modules, ("map-rank", "rank"), Joined::Mean, whole, |module| Some(module.rank as f64)),
            map(modules, ("map-share", "share of ‖Δ‖²"), Joined::Sum, cents, share(report)),
        ],
    )
}

/// Of a plan.
pub fn plan(report: &Report) -> Markup {
    let modules = &report.modules;
    section(
        "Where the difference is",
        "By layer and kind of module. In per cent, but for ranks.",
        &[
            map(modules, ("map-noise", "directions above the noise"), Joined::Mean, whole, |module| {
                Some(module.noise_rank as f64)
            }),
            map(modules, ("map-change", "‖Δ‖/‖W‖"), Joined::Mean, cents, change),
            map(modules, ("map-share", "share of ‖Δ‖²"), Joined::Sum, cents, share(report)),
        ],
    )
}

/// Of two models.
pub fn models(report: &Report) -> Markup {
    let modules = &report.modules;
    let ranks: std::collections::BTreeMap<_, _> = report
        .diff
        .iter()
        .flat_map(|diff| &diff.tensors)
        .filter_map(|tensor| Some((tensor.name.as_str(), tensor.effective_rank?)))
        .collect();
    section(
        "Where they differ",
        "By layer and kind of module. In per cent, but for ranks.",
        &[
            map(modules, ("map-change", "‖Δ‖/‖W‖"), Joined::Mean, cents, change),
            map(modules, ("map-rank", "effective rank"), Joined::Mean, whole, |module| {
                ranks.get(module.name.as_str()).copied()
            }),
            map(modules, ("map-share", "share of ‖Δ‖²"), Joined::Sum, cents, share(report)),
        ],
    )
}

/// Of two adapters.
pub fn adapters(found: &AdapterDiff) -> Markup {
    let of = |id, title, shown, value: fn(&crate::ModuleDiff) -> f64| Map {
        id,
        title,
        joined: Joined::Mean,
        shown,
        values: found
            .modules
            .iter()
            .map(|module| {
                let layer = module.name.len() - module.kind.len();
                let layer = module.name.get(..layer).unwrap_or_default().trim_end_matches('.');
                let layer = if module.name.ends_with(&module.kind) { layer } else { "" };
                let weight = module.norms[0].powi(2) + module.norms[1].powi(2);
                Value { layer, kind: &module.kind, number: value(module), weight }
            })
            .collect(),
    };
    section(
        "Where they differ",
        "By layer and kind of module. Shares in per cent.",
        &[
            of("map-cosine", "cosine", |value| format!("{value:.2}"), |module| module.cosine),
            of("map-first", "share of the first within the second", cents, |module| module.shared[0]),
            of("map-second", "share of the second within the first", cents, |module| module.shared[1]),
            of("map-distance", "‖first − second‖", short, |module| module.distance),
        ],
    )
}
