//! Every argument of the command has a row in `tests/parity/options.txt`, which says what serves it in C or why nothing
//! does; what serves it is in `phlora.h`, and the option occurs in `tests/parity/cases.txt`, whose cases `tests/parity/run.py` runs by
//! the command and through C.

use super::Cli;
use clap::CommandFactory;
use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("../../../tests/parity/options.txt");
const CASES: &str = include_str!("../../../tests/parity/cases.txt");
const HEADER: &str = include_str!("../../../include/phlora.h");

/// The arguments of all commands, as the table writes them.
fn arguments() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let cli = Cli::command();
    let name = |arg: &clap::Arg| match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.get_id().to_string(),
    };
    for arg in cli.get_arguments() {
        all.insert(format!("* {}", name(arg)));
    }
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        for arg in command.get_arguments() {
            all.insert(format!("{} {}", command.get_name(), name(arg)));
        }
    }
    all
}

/// The rows of the table: what serves each argument; nothing where there is a reason.
fn rows() -> BTreeMap<String, Vec<&'static str>> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &'static str| {
        if let Some((argument, served)) = line.split_once(" = ") {
            return (argument.to_owned(), served.split(' ').collect());
        }
        let (argument, reason) = line.split_once(" : ").expect("a row has what serves it, or a reason");
        assert!(!reason.is_empty(), "{line}");
        (argument.to_owned(), Vec::new())
    };
    lines.map(row).collect()
}

/// The text of a struct or of a function's parameters.
fn declaration(of: &str) -> Option<&'static str> {
    let between = |start: &str, end: &str| {
        let (_, after) = HEADER.split_once(start)?;
        after.split_once(end).map(|(text, _)| text)
    };
    between(&format!("typedef struct {of} {{"), "\n} ").or_else(|| between(&format!("{of}("), ");"))
}

/// Whether `text` declares a field or a parameter of this name.
fn declares(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

#[test]
fn every_argument_has_its_row() {
    let (arguments, rows) = (arguments(), rows());
    let listed: BTreeSet<_> = rows.keys().cloned().collect();
    let missing: Vec<_> = arguments.difference(&listed).collect();
    assert!(missing.is_empty(), "no row in tests/parity/options.txt: {missing:?}");
    let stale: Vec<_> = listed.difference(&arguments).collect();
    assert!(stale.is_empty(), "the command has no such argument: {stale:?}");
}

#[test]
fn what_serves_an_argument_is_in_the_header() {
    for (argument, served) in rows() {
        for field in served {
            let (of, name) = field.split_once('.').unwrap_or((field, ""));
            let text = declaration(of).unwrap_or_else(|| panic!("{argument}: phlora.h has no {of}"));
            assert!(name.is_empty() || declares(text, name), "{argument}: {of} has no {name}");
        }
    }
}

#[test]
fn every_option_that_c_has_is_in_a_case() {
    let mut used = BTreeSet::new();
    for case in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (asked, _) = case.split_once(" | ").expect("a case has two sides");
        for step in asked.split(" ; ") {
            let mut words = step.split(' ');
            let command = words.next().unwrap_or_default();
            for word in words.map(|word| if word == "-o" { "--output" } else { word }) {
                used.extend([format!("{command} {word}"), format!("* {word}")]);
            }
            used.insert(command.to_owned());
        }
    }
    for (argument, served) in rows() {
        let (command, name) = argument.split_once(' ').unwrap_or_default();
        // A job's own arguments are those of all its cases.
        let is_used = if name.starts_with("--") { used.contains(&argument) } else { used.contains(command) };
        assert!(served.is_empty() || is_used, "no case of tests/parity/cases.txt has {argument}");
    }
}
