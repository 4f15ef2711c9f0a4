//! Tensors without factors, stored beside them or left out, with their share of the whole difference.

use crate::report::{LeftOut, Report};
use crate::units::{bytes, percent};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// Tensors of one reason.
#[derive(Debug, Default)]
struct Group {
    tensors: usize,
    squares: f64,
    unknown: usize,
}

pub fn section(report: &Report) -> Markup {
    let mut groups = BTreeMap::<&str, Group>::new();
    for tensor in &report.left_out {
        let group = groups.entry(tensor.group()).or_default();
        group.tensors += 1;
        group.squares += tensor.sum_squares();
        group.unknown += usize::from(tensor.delta_norm.is_none());
    }
    let inside = report.total.delta_norm.powi(2);
    let full: f64 = report.full.iter().map(|tensor| tensor.delta_norm.powi(2)).sum();
    // An empty sum would be −0.
    let outside = report.left_out.iter().map(LeftOut::sum_squares).fold(0.0, |sum, squares| sum + squares);
    let all = inside + full + outside;
    let share = |squares: f64| if all > 0.0 { squares / all } else { 0.0 };
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|(_, a), (_, b)| b.squares.total_cmp(&a.squares));
    html! {
        section aria-labelledby="left-out" {
            h2 id="left-out" { "What was left out" }
            @if groups.is_empty() && report.full.is_empty() {
                p { "Nothing: every tensor that differs has factors." }
            } @else {
                p {
                    "Of the whole difference between the models, "
                    data id="outside" value=(share(outside)) { (percent(share(outside))) }
                    " is in tensors without factors."
                }
                table.bars {
                    thead { tr {
                        th scope="col" { "reason" } th scope="col" { "tensors" }
                        th scope="col" { "share of all ‖Δ‖²" }
                    } }
                    tbody {
                        tr.inside {
                            th scope="row" { "in the adapter's modules" }
                            td { (report.modules.len()) }
                            (bar(share(inside), None))
                        }
                        @if !report.full.is_empty() {
                            tr.inside {
                                th scope="row" { "stored beside the factors: " (kinds(report)) }
                                td { (report.full.len()) }
                                (bar(share(full), None))
                            }
                        }
                        @for (reason, group) in &groups {
                            tr {
                                th scope="row" { (reason) }
                                td { (group.tensors) }
                                (bar(share(group.squares), (group.unknown == group.tensors).then_some("not comparable")))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is stored beside the factors, and its bytes.
fn kinds(report: &Report) -> String {
    let kinds: BTreeSet<_> = report.full.iter().map(|tensor| tensor.kind.as_str()).collect();
    let size = report.full.iter().map(|tensor| tensor.bytes).fold(0, u64::saturating_add);
    format!("{}, {}", kinds.into_iter().collect::<Vec<_>>().join(", "), bytes(size))
}

fn bar(share: f64, instead: Option<&str>) -> Markup {
    html! {
        td.bar data-share=(share) {
            span style=(format!("--share:{share:.4}")) {}
            @match instead { Some(text) => (text), None => (percent(share)) }
        }
    }
}
