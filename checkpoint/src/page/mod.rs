//! A report as one HTML page: no script, no network, light and dark, every figure also as text.
//!
//! maud escapes all text and attributes, so names from files stay names.

mod curves;
mod frontier;
mod heat;
mod left_out;
mod modules;
mod plot;

use crate::report::{PolicyReport, Report};
use crate::units::{bytes, count, percent};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing but the page's own style may be used, whatever a name in it tries.
const SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A report as one page: HTML that needs no network. [`save_page`](crate::save_page) writes it.
pub fn render_page(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(SECURITY);
                // Told from other files by this, before it is replaced.
                meta name="generator" content=(format!("phlora report {}", report.phlora));
                meta name="color-scheme" content="light dark";
                title { (format!("{} kept · phlora", percent(whole(report)))) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (headline(report))
                main {
                    (heat::section(report))
                    (curves::section(report))
                    (frontier::section(report))
                    (left_out::section(report))
                    (modules::section(report))
                }
                footer { p { (footer(report)) } }
            }
        }
    };
    page.into_string()
}

/// Kept share of the whole difference; older reports know that of the modules alone.
fn whole(report: &Report) -> f64 {
    report.total.whole_energy.unwrap_or(report.total.energy)
}

fn headline(report: &Report) -> Markup {
    let total = &report.total;
    let ranks = || report.modules.iter().map(|module| module.rank);
    let (least, most) = (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0));
    let size = match report.bytes_out {
        0 => "no adapter written: a plan".to_owned(),
        size => format!("{} adapter", bytes(size)),
    };
    html! {
        header {
            p.brand { "phlora" }
            h1 { data id="whole_energy" value=(whole(report)) { (percent(whole(report))) } }
            p.lead {
                "of the whole difference is kept, "
                data id="energy" value=(total.energy) { (percent(total.energy)) }
                " of that in the " (report.modules.len()) " modules with factors"
            }
            ul.facts {
                li { data id="bytes_out" value=(report.bytes_out) { (size) } }
                li { @if least == most { "rank " (most) } @else { "ranks " (least) " to " (most) } }
                li { (count(total.parameters_in)) " weights, " (count(total.parameters_out)) " in the factors" }
                @if let Some(policy) = &report.policy { li { "chosen by " (goal(policy)) } }
            }
        }
    }
}

/// What the ranks were chosen by.
fn goal(policy: &PolicyReport) -> String {
    #[allow(clippy::cast_sign_loss)] // a size
    let text = match (policy.goal.as_str(), policy.value) {
        ("energy", Some(share)) => format!("an energy of {} in each module", percent(share)),
        ("budget", Some(size)) => format!("a budget of {}", bytes(size.max(0.0) as u64)),
        ("noise floor", _) => "the noise floor of each module".to_owned(),
        _ => "one rank for all".to_owned(),
    };
    if policy.multiple > 1 { format!("{text}, in multiples of {}", policy.multiple) } else { text }
}

fn footer(report: &Report) -> String {
    let weighed = report.modules.iter().filter(|module| module.weighed).count();
    let weighed = match weighed {
        0 => String::new(),
        count => {
            format!(" In {count} modules Δ stands for Δ·diag(s), s being the scales of their input channels.")
        }
    };
    format!(
        "Energy is Σσ² of the kept singular values over ‖Δ‖², Δ = tuned − base.{weighed} Written by phlora {}, report \
         version {}.",
        report.phlora, report.version
    )
}
