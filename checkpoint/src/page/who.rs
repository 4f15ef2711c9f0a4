//! What a page is of: the models, the command, the day.

use crate::{Origin, Report};
use maud::{Markup, html};

/// Base → tuned.
pub fn models(origin: Option<&Origin>) -> Markup {
    html! {
        @if let Some(origin) = origin {
            p.who {
                span { (origin.base) } " → " span { (origin.tuned) }
                @if let Some(deployed) = &origin.deployed { ", run as " span { (deployed) } }
            }
        }
    }
}

/// The same for a title, by the last names of their paths.
pub fn short(origin: Option<&Origin>) -> String {
    origin.map_or(String::new(), |origin| format!("{} → {} · ", last(&origin.base), last(&origin.tuned)))
}

/// The last name of a path, with the one before it where that is no name of a model.
pub fn last(path: &str) -> &str {
    let path = path.trim_end_matches(['/', '\\']);
    let start = path.rfind(['/', '\\']).map_or(0, |at| at + 1);
    match &path[start..] {
        "model.safetensors" | "model.safetensors.index.json" => {
            let before = path[..start].trim_end_matches(['/', '\\']);
            if before.is_empty() { path } else { last(before) }
        }
        name => name,
    }
}

/// What was typed, when, and by which version.
pub fn how(command: Option<&str>, date: Option<&str>, version: &str) -> Markup {
    html! {
        @if let Some(command) = command { pre.command tabindex="0" { code { (command) } } }
        p { @if let Some(date) = date { (date) ", " } "phlora " (version) }
    }
}

/// The same of a report.
pub fn of(report: &Report) -> Markup {
    let origin = report.origin.as_ref();
    how(
        origin.and_then(|origin| origin.command.as_deref()),
        origin.map(|origin| origin.date.as_str()),
        &report.phlora,
    )
}

#[cfg(test)]
mod tests {
    use super::last;

    #[test]
    fn a_title_has_the_names_of_the_models() {
        for (path, name) in [
            ("base", "base"),
            ("/m/llama/", "llama"),
            ("m/x/model.safetensors", "x"),
            ("model.safetensors", "model.safetensors"),
        ] {
            assert_eq!(last(path), name);
        }
    }
}
