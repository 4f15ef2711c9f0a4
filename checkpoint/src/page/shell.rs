//! What all pages have around them.

use super::{plot, ramp};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing but the page's own style may be used, whatever a name in it tries.
const SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What differs from page to page.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) head: Markup,
    pub(super) main: Markup,
    pub(super) foot: Markup,
    /// Version of phlora.
    pub(super) version: String,
}

/// The whole page.
pub(super) fn shell(page: &Page) -> String {
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
