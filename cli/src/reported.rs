//! Where reports go: a JSON file, or a page where the name ends in .html.

use crate::failure::Failure;
use crate::invocation;
use phlora::render_page;
use phlora::{Monitor, Report, save_page, save_report};
use std::path::Path;

/// Whether a report at `path` is a page.
pub fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html"))
}

/// Writes `report` to `path`.
pub fn save(report: &Report, path: &Path, force: bool, monitor: &Monitor) -> Result<(), Failure> {
    if is_page(path) {
        save_page(&render_page(report), path, force, monitor)?;
    } else {
        save_report(report, path, force, monitor)?;
    }
    Ok(())
}

/// What was typed, words that a shell would take apart in quotes.
pub fn typed() -> String {
    let words: Vec<_> = invocation::arguments().iter().map(|word| quoted(word)).collect();
    ["phlora".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it for one.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:%+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_stay_words_in_a_shell() {
        for (word, typed) in [
            ("--rank", "--rank"),
            ("90%", "90%"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("q_proj$", "'q_proj$'"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }
}
