//! Numbers and text for people.

pub use phlora::units::{bytes, count, percent};
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, Write};

/// Writes `text` to standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints `value`, however little is to be said.
///
/// # Errors
/// When standard output cannot be written.
pub fn json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}\n"))
}

/// What the library gives as JSON, numbers as they are written there.
pub fn value(text: serde_json::Result<String>) -> Value {
    text.and_then(|text| serde_json::from_str(&text)).unwrap_or_default()
}

/// Characters that turn the direction of writing or take no room, so that a name looks like another.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `text` from a file, made harmless for a terminal: whatever would move the cursor, start a line, change
/// colours, turn the direction of writing or not be seen is spelled out.
pub fn plain(text: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() || is_hidden(c);
    if !text.contains(harms) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harms(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe.into()
}

/// Cuts the middle out of `text` where it is longer than `width`.
pub fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(1);
    let head: String = text.chars().take(keep / 2).collect();
    let tail: String = text.chars().skip(length - (keep - keep / 2)).collect();
    format!("{head}…{tail}")
}

/// A time, e.g. `0.43 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{seconds:.2} s")
    } else {
        format!("{} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(plain("h.0/ünï.日本"), "h.0/ünï.日本");
        assert_eq!(plain("\x1b[2J\u{9b}1m\r\n\0"), r"\u{1b}[2J\u{9b}1m\r\n\u{0}");
        assert_eq!(plain("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(plain("a\u{200b}b\u{feff}\u{2060}\u{61c}"), r"a\u{200b}b\u{feff}\u{2060}\u{61c}");
    }
}
