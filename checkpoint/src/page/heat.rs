//! Values by layer and kind: a table whose cells are coloured, one for each thing that varies.

use super::ramp::{STEPS, step};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// What a map is made of: one value of one module.
#[derive(Debug, Clone, Copy)]
pub struct Value<'r> {
    pub layer: &'r str,
    pub kind: &'r str,
    pub number: f64,
    /// What it counts in the mean of a cell.
    pub weight: f64,
}

/// How the modules of a cell go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    Mean,
    Sum,
}

/// A map of one quantity.
#[derive(Debug)]
pub struct Map<'r> {
    pub id: &'static str,
    pub title: &'static str,
    pub joined: Joined,
    /// A value in a cell, and in the legend.
    pub shown: fn(f64) -> String,
    pub values: Vec<Value<'r>>,
}

/// Less than this share of the largest value is no difference.
const SAME: f64 = 0.02;

/// The maps of what varies; the first one if nothing does.
pub fn section(title: &str, text: &str, maps: &[Map<'_>]) -> Markup {
    let varies = |map: &&Map<'_>| {
        let (least, most) = range(&cells(map));
        most - least > SAME * most.abs()
    };
    let mut shown: Vec<_> = maps.iter().filter(varies).collect();
    if shown.is_empty() {
        shown.extend(maps.first());
    }
    shown.retain(|map| !map.values.is_empty());
    if shown.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="heat" {
            h2 id="heat" { (title) }
            p { (text) }
            div.maps { @for map in shown { (figure(map)) } }
        }
    }
}

type Cells<'r> = BTreeMap<(Layer<'r>, &'r str), f64>;

fn cells<'r>(map: &Map<'r>) -> Cells<'r> {
    let mut sums = BTreeMap::<_, (f64, f64)>::new();
    for value in &map.values {
        let sum = sums.entry((layer(value.layer), value.kind)).or_default();
        let weight = if map.joined == Joined::Sum { 1.0 } else { value.weight.max(f64::MIN_POSITIVE) };
        *sum = (sum.0 + weight * value.number, sum.1 + weight);
    }
    let one = |(sum, weight): (f64, f64)| if map.joined == Joined::Sum { sum } else { sum / weight };
    sums.into_iter().map(|(key, sum)| (key, one(sum))).collect()
}

fn range(cells: &Cells<'_>) -> (f64, f64) {
    let fold = |pick: fn(f64, f64) -> f64| cells.values().copied().reduce(pick).unwrap_or(0.0);
    (fold(f64::min), fold(f64::max))
}

fn figure(map: &Map<'_>) -> Markup {
    let cells = cells(map);
    let (least, most) = range(&cells);
    let layers: BTreeSet<_> = cells.keys().map(|(layer, _)| *layer).collect();
    let kinds: BTreeSet<_> = cells.keys().map(|(_, kind)| *kind).collect();
    let common = layers.iter().map(|layer| layer.prefix).collect::<BTreeSet<_>>().len() == 1;
    let spoken = |layer: &Layer<'_>| match (layer.number, common) {
        (Some(number), true) => number.to_string(),
        _ if layer.whole.is_empty() => "–".to_owned(),
        _ => layer.whole.to_owned(),
    };
    let colour = |value: f64| if most > least { step((value - least) / (most - least)) } else { STEPS / 2 };
    html! {
        figure.map {
            figcaption id=(map.id) { strong { (map.title) } (legend(map, least, most)) }
            div.scroll tabindex="0" role="group" aria-labelledby=(map.id) {
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
                                        Some(&value) => td class=(format!("h{}", colour(value))) {
                                            ((map.shown)(value))
                                        },
                                        None => td.none { "–" },
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

fn legend(map: &Map<'_>, least: f64, most: f64) -> Markup {
    html! {
        span.scale {
            span { ((map.shown)(least)) }
            @for step in 0..STEPS { i class=(format!("h{step}")) {} }
            span { ((map.shown)(most)) }
        }
    }
}

/// Lines may break after each name of the path, and each of its words.
pub fn kind_label(kind: &str) -> Markup {
    html! {
        @if kind.is_empty() { "module" }
        @for word in kind.split_inclusive(['.', '_']) { (word) wbr; }
    }
}

/// A layer in the order of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layer<'r> {
    prefix: &'r str,
    pub number: Option<u64>,
    whole: &'r str,
}

pub fn layer(whole: &str) -> Layer<'_> {
    let (prefix, number) = whole.rsplit_once('.').unwrap_or(("", whole));
    match number.parse() {
        Ok(number) => Layer { prefix, number: Some(number), whole },
        Err(_) => Layer { prefix: whole, number: None, whole },
    }
}
