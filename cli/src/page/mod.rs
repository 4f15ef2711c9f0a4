//! Reports as HTML pages: no script, no network, light, dark and on paper, every figure also as text.
//!
//! maud escapes all text and attributes, so names from files stay names.

mod bar;
mod curves;
mod diff;
mod extraction;
mod frontier;
mod heat;
mod left_out;
mod maps;
mod modules;
mod plan;
mod plot;
mod ramp;
mod who;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use phlora::{AdapterDiff, Report};

/// Nothing but the page's own style may be used, whatever a name in it tries.
const SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What differs from page to page.
struct Page {
    title: String,
    head: Markup,
    main: Markup,
    foot: Markup,
    /// Version of phlora.
    version: String,
}

/// The page of a report: of an extraction, a plan, or a comparison of models.
pub fn render(report: &Report) -> String {
    shell(match (&report.plan, &report.diff) {
        (Some(plan), _) => plan::page(report, plan),
        (_, Some(diff)) => diff::models(report, diff),
        _ => extraction::page(report),
    })
}

/// The page of a comparison of adapters.
pub fn of_adapters(found: &AdapterDiff) -> String {
    shell(diff::adapters(found))
}

fn shell(page: Page) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(SECURITY);
                // Told from other files by this, before it is replaced.
                meta name="generator" content=(format!("phlora report {}", page.version));
                meta name="color-scheme" content="light dark";
                title { (page.title) }
                style { (PreEscaped(include_str!("style.css"))) (PreEscaped(ramp::rules())) }
            }
            body {
                (plot::hatching())
                header { p.brand { "phlora" } (page.head) }
                main { (page.main) }
                footer { (page.foot) }
            }
        }
    };
    page.into_string()
}
