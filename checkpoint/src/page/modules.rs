//! Every module in a table: what the plots show, in figures.

use crate::report::Report;
use crate::units::{bytes, percent};
use maud::{Markup, html};

/// More than this are folded away.
const MANY: usize = 60;

pub fn section(report: &Report) -> Markup {
    let table = table(report);
    html! {
        section aria-labelledby="modules" {
            h2 id="modules" { "All modules" }
            @if report.modules.len() > MANY {
                details { summary { (report.modules.len()) " modules as a table" } (table) }
            } @else {
                (table)
            }
        }
    }
}

fn table(report: &Report) -> Markup {
    let all = report.total.delta_norm.powi(2);
    let written = report.modules.iter().any(|module| module.bytes > 0);
    html! {
        div.scroll tabindex="0" role="group" aria-labelledby="modules" {
            table.modules {
                thead { tr {
                    th scope="col" { "module" } th scope="col" { "out × in" } th scope="col" { "rank" }
                    th scope="col" { "above noise" } th scope="col" { "kept" } th scope="col" { "of ‖Δ‖²" }
                    @if written { th scope="col" { "bytes" } }
                } }
                tbody {
                    @for module in &report.modules {
                        tr {
                            th scope="row" { (module.name) }
                            td { (module.shape[0]) " × " (module.shape[1]) }
                            td { (module.rank) }
                            td { @if module.more_above_noise() { "≥ " } (module.noise_rank) }
                            td data-v=(module.energy) { (percent(module.energy)) }
                            td { @if all > 0.0 { (percent(module.delta_norm.powi(2) / all)) } }
                            @if written { td data-v=(module.bytes) { (bytes(module.bytes)) } }
                        }
                    }
                }
            }
        }
    }
}
