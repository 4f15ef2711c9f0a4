//! Mistakes that users make with the command, a row each: what they have, what they type, the exit code, and what they
//! read. Every row starts with a sound pair, the directories `base` and `tuned`, and spoils something.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod files;
#[path = "../../../checkpoint/tests/common/gguf.rs"]
mod gguf;
#[path = "../../../checkpoint/tests/common/llama.rs"]
mod llama;
mod model;
mod options;
mod outputs;
mod pairs;

use common::{command, names, outcome, small};
use std::path::Path;

/// A mistake and its result.
struct Row {
    mistake: &'static str,
    /// Makes it, in a directory with a sound pair.
    make: fn(&Path),
    /// What is typed after `phlora`, in that directory. The cache of the hub is `hub` in it.
    typed: &'static str,
    code: i32,
    /// Parts of what is read.
    says: &'static [&'static str],
}

/// Runs every row and gives what went wrong, all at once.
fn check(rows: &[Row]) {
    let failed: Vec<_> = rows.iter().filter_map(|row| fault(row).map(|why| (row, why))).collect();
    for (row, why) in &failed {
        println!("{} (phlora {}): {why}\n", row.mistake, row.typed);
    }
    assert!(failed.is_empty(), "{} of {} rows", failed.len(), rows.len());
}

fn fault(row: &Row) -> Option<String> {
    let root = tempfile::tempdir().unwrap();
    small::pair(root.path());
    (row.make)(root.path());
    let before = names(root.path());
    let mut phlora = command();
    phlora.args(row.typed.split_whitespace()).current_dir(root.path()).env("HF_HUB_CACHE", "hub");
    let (code, stdout, stderr) = outcome(&phlora.output().unwrap());
    println!("== {}\n   {}{}", row.mistake, if code == 0 { "" } else { "E " }, stderr);
    if code != row.code {
        return Some(format!("exit code {code}, expected {}: {stderr}", row.code));
    }
    if code != 0 && (names(root.path()) != before || !stdout.is_empty()) {
        return Some(format!("something is left behind: {:?} {stdout}", names(root.path())));
    }
    let said = stdout + &stderr;
    let missing: Vec<_> = row.says.iter().filter(|part| !said.contains(**part)).collect();
    (!missing.is_empty() || said.contains("panicked")).then(|| format!("expected {missing:?} in {said}"))
}

#[test]
fn what_is_named_as_a_model() {
    check(model::ROWS);
}

#[test]
fn files_that_are_no_weights() {
    check(files::ROWS);
}

#[test]
fn what_is_no_pair() {
    check(pairs::ROWS);
}

#[test]
fn what_is_asked_for() {
    check(options::ROWS);
}

#[test]
fn where_it_goes_and_what_is_done_with_it() {
    check(outputs::ROWS);
}
