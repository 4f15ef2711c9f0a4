//! One stacked bar: shares of a whole, in words too.

use crate::units::percent;
use maud::{Markup, html};

/// A share of the bar.
#[derive(Debug)]
pub struct Part {
    /// Its class, and what its figure is called.
    pub class: &'static str,
    pub name: String,
    pub share: f64,
}

impl Part {
    pub fn new(class: &'static str, name: impl Into<String>, share: f64) -> Self {
        // A sum of nothing would be −0.
        Self { class, name: name.into(), share: share.max(0.0) + 0.0 }
    }
}

/// The bar of `parts`; those of nothing are not drawn.
pub fn stacked(parts: &[Part]) -> Markup {
    let drawn = || parts.iter().filter(|part| part.share > 0.0);
    let spoken: Vec<_> = drawn().map(|part| format!("{} {}", part.name, percent(part.share))).collect();
    html! {
        div.stack role="img" aria-label=(spoken.join(", ")) {
            @for part in drawn() { span class=(part.class) style=(format!("--w:{:.4}", part.share)) {} }
        }
        ul.legend {
            @for part in drawn() {
                li {
                    i class=(part.class) {} (part.name) " "
                    data id=(format!("part-{}", part.class)) value=(part.share) { (percent(part.share)) }
                }
            }
        }
    }
}
