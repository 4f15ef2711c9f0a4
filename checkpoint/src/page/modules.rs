//! Every module in a table: what the plots show, in figures.

use crate::report::Report;
use crate::units::{bytes, percent};
use maud::{Markup, html};

pub fn section(report: &Report) -> Markup {
    let all = report.total.delta_norm.powi(2);
    html! {
        section aria-labelledby="modules" {
            h2 id="modules" { "All modules" }
            details {
                summary { (report.modules.len()) " modules as a table" }
                div.scroll tabindex="0" {
                    table.modules {
                        thead { tr {
                            th scope="col" { "module" } th scope="col" { "out × in" } th scope="col" { "rank" }
                            th scope="col" { "above noise" } th scope="col" { "kept" }
                            th scope="col" { "of ‖Δ‖²" } th scope="col" { "bytes" }
                        } }
                        tbody {
                            @for module in &report.modules {
                                tr data-module=(module.name) data-rank=(module.rank) data-energy=(module.energy)
                                    data-bytes=(module.bytes) data-noise-rank=(module.noise_rank) {
                                    th scope="row" { (module.name) }
                                    td { (module.shape[0]) " × " (module.shape[1]) }
                                    td { (module.rank) }
                                    td { (module.noise_rank) }
                                    td { (percent(module.energy)) }
                                    td { @if all > 0.0 { (percent(module.delta_norm.powi(2) / all)) } }
                                    td { (bytes(module.bytes)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
