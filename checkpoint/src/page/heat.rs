//! Energy by layer and kind: a table whose cells are coloured.

use crate::report::{ModuleReport, Report};
use crate::units::percent;
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// From these on a cell is too strong for the usual colour of text, in the dark scheme and in the light one.
const STRONG: (f64, f64) = (0.55, 0.75);

pub fn section(report: &Report) -> Markup {
    let mut cells = BTreeMap::<(Layer<'_>, &str), Vec<&ModuleReport>>::new();
    for module in &report.modules {
        cells.entry((layer(&module.layer), &module.kind)).or_default().push(module);
    }
    let layers: BTreeSet<_> = cells.keys().map(|(layer, _)| *layer).collect();
    let kinds: BTreeSet<_> = cells.keys().map(|(_, kind)| *kind).collect();
    let common = layers.iter().map(|layer| layer.prefix).collect::<BTreeSet<_>>().len() == 1;
    let spoken = |layer: &Layer<'_>| match (layer.number, common) {
        (Some(number), true) => number.to_string(),
        _ if layer.whole.is_empty() => "–".to_owned(),
        _ => layer.whole.to_owned(),
    };
    html! {
        section aria-labelledby="heat" {
            h2 id="heat" { "Where it is kept" }
            p { "Kept energy of each module in per cent, by layer and kind. Hover a cell for its module and rank." }
            div.scroll tabindex="0" {
                table.heat {
                    thead { tr {
                        th scope="col" { "layer" }
                        @for kind in &kinds { th scope="col" { (kind_label(kind)) } }
                    } }
                    tbody {
                        @for layer in &layers {
                            tr {
                                th scope="row" { (spoken(layer)) }
                                @for kind in &kinds {
                                    @match cells.get(&(*layer, *kind)) {
                                        Some(modules) => (cell(modules)),
                                        None => td.none title="left out" { "·" },
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Lines may break after each part of the path.
fn kind_label(kind: &str) -> Markup {
    let parts: Vec<_> = kind.split('.').filter(|part| !part.is_empty()).collect();
    html! {
        @if parts.is_empty() { "module" }
        @for (i, part) in parts.iter().enumerate() { @if i > 0 { "." wbr; } (part) }
    }
}

fn cell(modules: &[&ModuleReport]) -> Markup {
    let all: f64 = modules.iter().map(|module| module.delta_norm.powi(2)).sum();
    let kept: f64 = modules.iter().map(|module| module.energy * module.delta_norm.powi(2)).sum();
    let energy = match modules {
        [one] => one.energy,
        _ if all > 0.0 => kept / all,
        _ => 1.0,
    };
    let title = match modules {
        [one] => format!("{}: {} at rank {}", one.name, percent(energy), one.rank),
        _ => format!("{} modules: {}", modules.len(), percent(energy)),
    };
    let class = match energy {
        energy if energy > STRONG.1 => "strong",
        energy if energy > STRONG.0 => "middle",
        _ => "weak",
    };
    let modules = (modules.len() == 1).then(|| modules[0].name.as_str());
    html! {
        td class=(class) style=(format!("--e:{energy:.3}")) title=(title) data-energy=(energy)
            data-module=[modules] { (format!("{:.0}", 100.0 * energy)) }
    }
}

/// A layer in the order of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Layer<'r> {
    prefix: &'r str,
    number: Option<u64>,
    whole: &'r str,
}

fn layer(whole: &str) -> Layer<'_> {
    let (prefix, number) = whole.rsplit_once('.').unwrap_or(("", whole));
    match number.parse() {
        Ok(number) => Layer { prefix, number: Some(number), whole },
        Err(_) => Layer { prefix: whole, number: None, whole },
    }
}
