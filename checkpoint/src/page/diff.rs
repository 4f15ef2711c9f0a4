//! The pages of comparisons: two models, two adapters.

use super::bar::{Band, bar};
use super::heat::kind_label;
use super::shell::Page;
use super::{curves, maps, who};
use crate::units::percent;
use crate::{AdapterDiff, DiffReport, Report, TensorDiff};
use maud::{Markup, html};

/// Of two models.
pub fn models(report: &Report, diff: &DiffReport) -> Page {
    let change = overall(report);
    let headline = change.map_or("–".to_owned(), percent);
    Page {
        title: format!("{headline} moved · {}phlora diff", who::short(report.origin.as_ref())),
        head: html! {
            (who::models(report.origin.as_ref()))
            h1 { data id="change" value=(change.unwrap_or(0.0)) { (headline) } }
            p.lead { "is ‖Δ‖/‖W‖ over the " (report.modules.len()) " modules" }
            p.more { (diff.answer(report.total.whole_norm.unwrap_or(report.total.delta_norm))) }
            (bar(&bands(diff)))
            ul.facts {
                li { (diff.tensors.len()) " tensors differ" }
                li { (diff.unchanged) " are the same" }
                @if diff.not_compared > 0 { li { (diff.not_compared) " are on one side alone or cannot be compared" } }
            }
        },
        main: html! {
            (by_kind(diff))
            (maps::models(report))
            (curves::section(report))
            (tensors(diff))
        },
        foot: html! {
            p {
                "Δ = second − first. ‖W‖ is that of the first model. Effective "
                "rank is (Σσ²)²/Σσ⁴. A direction is above noise where its σ is above what noise of the same size would have; ≥ "
                "where these reach the rank that was looked at."
            }
            (who::of(report))
        },
        version: report.phlora.clone(),
    }
}

/// ‖Δ‖/‖W‖ over the modules whose weights were measured.
fn overall(report: &Report) -> Option<f64> {
    let known = || report.modules.iter().filter_map(|one| Some((one.delta_norm, one.weight_norm?)));
    let (delta, weight) = known().fold((0.0, 0.0), |(a, b), (x, y)| (a + x * x, b + y * y));
    (weight > 0.0).then(|| (delta / weight).sqrt())
}

/// The kinds with the most of ‖Δ‖², the others together.
fn bands(diff: &DiffReport) -> Vec<Band> {
    const CLASSES: [&str; 5] = ["kept", "rank", "beside", "rounding", "left"];
    let kinds = diff.kinds();
    let mut bands: Vec<_> = kinds
        .iter()
        .zip(CLASSES)
        .take(4)
        .map(|(kind, class)| Band::new(class, kind.name, kind.share))
        .collect();
    let rest = kinds.iter().skip(4).map(|kind| kind.share).sum();
    if kinds.len() > 4 {
        bands.push(Band::new(CLASSES[4], "all others", rest));
    }
    bands
}

fn by_kind(diff: &DiffReport) -> Markup {
    html! {
        section aria-labelledby="kinds" {
            h2 id="kinds" { "What moved, by kind" }
            div.scroll tabindex="0" role="group" aria-labelledby="kinds" {
                table.choices {
                    thead { tr {
                        th scope="col" { "kind" } th scope="col" { "tensors" } th scope="col" { "of ‖Δ‖²" }
                        th scope="col" { "‖Δ‖/‖W‖" } th scope="col" { "effective rank" } th scope="col" { "above noise" }
                    } }
                    tbody {
                        @for kind in diff.kinds() {
                            tr {
                                th scope="row" { (kind_label(kind.name)) }
                                @for figure in kind.figures() { td { (figure) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tensors(diff: &DiffReport) -> Markup {
    let row = |tensor: &TensorDiff| {
        html! {
            tr {
                th scope="row" { (tensor.name) }
                td data-v=[tensor.change] { (tensor.change.map_or("–".to_owned(), percent)) }
                td data-v=(tensor.share) { (percent(tensor.share)) }
                td { (tensor.effective_rank.map_or("–".to_owned(), |rank| format!("{rank:.1}"))) }
                td {
                    @if tensor.more_above_noise { "≥ " }
                    (tensor.noise_rank.map_or("–".to_owned(), |rank| rank.to_string()))
                }
            }
        }
    };
    html! {
        section aria-labelledby="tensors" {
            h2 id="tensors" { "All that moved, the most for its size first" }
            div.scroll tabindex="0" role="group" aria-labelledby="tensors" {
                table.modules {
                    thead { tr {
                        th scope="col" { "tensor" } th scope="col" { "‖Δ‖/‖W‖" } th scope="col" { "of ‖Δ‖²" }
                        th scope="col" { "effective rank" } th scope="col" { "above noise" }
                    } }
                    tbody { @for tensor in &diff.tensors { (row(tensor)) } }
                }
            }
        }
    }
}

/// Of two adapters.
pub fn adapters(found: &AdapterDiff) -> Page {
    let total = &found.total;
    let names = [who::last(&found.adapters[0]), who::last(&found.adapters[1])];
    Page {
        title: format!("cosine {:.3} · {}, {} · phlora diff", total.cosine, names[0], names[1]),
        head: html! {
            p.who { span { (found.adapters[0]) } ", " span { (found.adapters[1]) } }
            h1 { data id="cosine" value=(total.cosine) { (format!("{:.3}", total.cosine)) } }
            p.lead { "is the cosine of the two adapters" }
            p.more { (found.answer()) }
            @for at in 0..2 {
                p.more { (names[at]) ", ‖ΔW‖ " (format!("{:.4}", total.norms[at])) }
                (bar(&[
                    Band::new(["kept", "kept2"][at], "within the other", total.shared[at]),
                    Band::new(["left", "left2"][at], "what it adds", 1.0 - total.shared[at]),
                ]))
            }
            ul.facts {
                li { (found.modules.len()) " modules in both" }
                @for at in 0..2 { li { (found.only[at].len()) " only in " (names[at]) } }
            }
        },
        main: html! {
            (maps::adapters(found))
            (modules(found))
            (only(found, names))
        },
        foot: html! {
            p {
                "ΔW = s·B·A. Within the other is the share of ‖ΔW‖² that is left when it is projected on what the other "
                "writes and reads; angles are the principal angles of these subspaces."
            }
            (who::how(found.command.as_deref(), None, &found.phlora))
        },
        version: found.phlora.clone(),
    }
}

fn modules(found: &AdapterDiff) -> Markup {
    html! {
        section aria-labelledby="modules" {
            h2 id="modules" { "All modules in both" }
            div.scroll tabindex="0" role="group" aria-labelledby="modules" {
                table.modules {
                    thead { tr {
                        th scope="col" { "module" } th scope="col" { "ranks" } th scope="col" { "‖ΔW‖" }
                        th scope="col" { "cosine" } th scope="col" { "within the other" }
                        th scope="col" { "write angles" } th scope="col" { "read angles" }
                    } }
                    tbody {
                        @for module in &found.modules {
                            @let [name, rest @ ..] = module.figures();
                            tr data-cosine=(module.cosine) {
                                th scope="row" { (name) }
                                @for cell in rest { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn only(found: &AdapterDiff, names: [&str; 2]) -> Markup {
    html! {
        @for at in 0..2 {
            @if !found.only[at].is_empty() {
                section aria-labelledby=(format!("only-{at}")) {
                    h2 id=(format!("only-{at}")) { "Only in " (names[at]) }
                    ul { @for module in &found.only[at] { li { (module.name) } } }
                }
            }
        }
    }
}
