//! One bar of several bands: shares of a whole, in words too.

use crate::units::percent;
use maud::{Markup, html};

/// A band of the bar.
#[derive(Debug)]
pub struct Band {
    /// Its class, and what its figure is called.
    pub class: &'static str,
    pub name: String,
    pub share: f64,
}

impl Band {
    pub fn new(class: &'static str, name: impl Into<String>, share: f64) -> Self {
        // A sum of nothing would be −0.
        Self { class, name: name.into(), share: share.max(0.0) + 0.0 }
    }
}

/// The bar of `bands`; those of nothing are not drawn.
pub fn bar(bands: &[Band]) -> Markup {
    let drawn = || bands.iter().filter(|band| band.share > 0.0);
    let spoken: Vec<_> = drawn().map(|band| format!("{} {}", band.name, percent(band.share))).collect();
    html! {
        div.stack role="img" aria-label=(spoken.join(", ")) {
            @for band in drawn() { span class=(band.class) style=(format!("--w:{:.4}", band.share)) {} }
        }
        ul.legend {
            @for band in drawn() {
                li {
                    i class=(band.class) {} (band.name) " "
                    data id=(format!("part-{}", band.class)) value=(band.share) { (percent(band.share)) }
                }
            }
        }
    }
}
