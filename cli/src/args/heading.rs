//! The groups of options in the help, and what stands below them.

/// What is looked at.
pub const WHAT: &str = "What";
/// How much of it is kept.
pub const MUCH: &str = "How much";
/// How the work is done.
pub const HOW: &str = "How";
/// What is written and printed.
pub const OUTPUT: &str = "Output";
/// What all commands take.
pub const EVERY: &str = "Every command";

/// What stands below the options: the examples, one a line, then what clap would not show of the doc comment of a command's
/// arguments.
pub fn below(examples: &[&str], more: &str) -> String {
    let mut text = String::from("Examples:\n");
    for example in examples {
        text.push_str("  phlora ");
        text.push_str(example);
        text.push('\n');
    }
    if !more.is_empty() {
        text.push('\n');
        text.push_str(more);
    }
    text
}
