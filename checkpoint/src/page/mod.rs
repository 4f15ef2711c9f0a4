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
mod shell;
mod who;

use crate::{AdapterDiff, Report};
use shell::shell;

/// A report of an extraction, a plan or a comparison of models as one page: HTML that needs no network.
/// [`save_page`](crate::save_page) writes it.
pub fn render_page(report: &Report) -> String {
    shell(&match (&report.plan, &report.diff) {
        (Some(plan), _) => plan::page(report, plan),
        (_, Some(diff)) => diff::models(report, diff),
        _ => extraction::page(report),
    })
}

/// A comparison of adapters as one page.
pub fn render_adapter_diff(found: &AdapterDiff) -> String {
    shell(&diff::adapters(found))
}
