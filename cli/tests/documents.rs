//! Documents say what the code does: options and their defaults, C functions, modes, figures of the real pair.

mod common;

use common::{json, phlora, succeed, text, tiny_llama};
use phlora::ExtractOptions;
use phlora_core::{Mode, Options, Plan, Shape};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const COMMANDS: [&str; 11] =
    ["extract", "join", "plan", "diff", "verify", "check", "convert", "prune", "merge", "report", "inspect"];

/// These are the same in all commands.
const EVERY: [&str; 7] = ["quiet", "verbose", "color", "read-files", "spool", "spool-size", "connections"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Long options of a command, with the default that its help states.
fn offered(command: &str) -> BTreeMap<String, Option<String>> {
    let (code, help, _) = phlora(&[command, "--help"]);
    assert_eq!(code, 0);
    let mut options: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        // What is told of an option stands further to the right.
        let indented = (2..=6).contains(&(line.len() - line.trim_start().len()));
        let word = line.split_whitespace().find(|word| !(word.len() == 3 && word.starts_with('-')));
        if let Some(name) = word.and_then(|word| word.strip_prefix("--")).filter(|_| indented) {
            options.push((name.to_owned(), String::new()));
        }
        if let Some((_, text)) = options.last_mut() {
            text.push_str(line.trim());
            text.push(' ');
        }
    }
    let default = |text: &str| {
        let (_, rest) = text.split_once("[default: ")?;
        Some(rest.split([']', ';']).next()?.trim().to_owned())
    };
    let every = |name: &str| name == "help" || EVERY.contains(&name);
    assert!(EVERY.iter().all(|name| options.iter().any(|(option, _)| option == name)), "phlora {command}");
    options.retain(|(name, _)| !every(name));
    options.into_iter().map(|(name, text)| (name, default(&text))).collect()
}

/// The same as `docs/command.md` has it; a default that is no value of the option is a text.
fn documented(command: &str) -> BTreeMap<String, Option<String>> {
    let page = read("docs/command.md");
    let heading = format!("\n## phlora {command}\n");
    let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("no heading for {command}"));
    let section = section.split("\n## ").next().unwrap();
    let mut found = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let default = Some(cells[1].replace('`', "")).filter(|text| !text.is_empty());
        for name in cells[0].split(", ") {
            found.insert(name.trim_matches('`').trim_start_matches("--").to_owned(), default.clone());
        }
    }
    found
}

#[test]
fn options_and_defaults_are_those_of_the_help() {
    for command in COMMANDS {
        let (offered, documented) = (offered(command), documented(command));
        let names = |options: &BTreeMap<String, _>| options.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&documented), names(&offered), "docs/command.md, phlora {command}");
        for (name, default) in &offered {
            let said = &documented[name];
            if default.is_some() {
                assert_eq!(said, default, "docs/command.md, phlora {command} --{name}");
            } else if let Some(said) = said {
                let number = said.parse::<f64>().is_ok();
                assert!(!number, "phlora {command} --{name} has no default {said}");
            }
        }
    }
}

#[test]
fn options_of_all_commands_are_listed_once() {
    let page = read("docs/command.md");
    for name in EVERY {
        let cell = format!("`--{name}` | ");
        let rows =
            |text: &str| text.lines().filter(|line| line.starts_with("| ") && line.contains(&cell)).count();
        let (head, _) = page.split_once("\n## ").unwrap();
        assert_eq!((rows(head), rows(&page)), (1, 1), "docs/command.md, --{name}");
    }
}

/// What the doc comment of a field says behind its last "Default", as far as the end of the sentence.
fn default_of(source: &str, field: &str) -> String {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("pub {field}: "))).expect(field);
    let first = lines[..at].iter().rposition(|line| !line.starts_with("///")).unwrap() + 1;
    let comment = lines[first..at].iter().map(|line| line.trim_start_matches("///")).collect::<String>();
    let (_, said) = comment.rsplit_once("Default").unwrap_or_else(|| panic!("{field}: no default is stated"));
    let said = said.trim_start_matches([':', ' ']);
    said.split(". ").next().unwrap().trim_end_matches('.').to_owned()
}

/// The file of a crate that defines a struct.
fn defining(directory: &str, name: &str) -> String {
    let mut folders = vec![repository().join(directory)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap_or_default();
            if source.contains(&format!("pub struct {name} {{")) {
                return source;
            }
        }
    }
    panic!("{directory} has no struct {name}")
}

#[test]
fn defaults_in_doc_comments_are_those_of_the_code() {
    let options = Options::default();
    let core = defining("core/src", "Options");
    for (field, value) in [
        ("rank", options.rank.to_string()),
        ("goal", format!("[`Goal::{:?}`]", options.goal)),
        ("mode", format!("[`Mode::{:?}`]", options.mode)),
        ("tolerance", format!("{:e}", options.tolerance)),
        ("max_reads", options.max_reads.to_string()),
        ("parts", options.parts.to_string()),
    ] {
        assert_eq!(default_of(&core, field), value, "phlora_core::Options::{field}");
    }
    let extract = ExtractOptions::default();
    let checkpoint = defining("checkpoint/src", "ExtractOptions");
    for (field, value) in [
        ("policy", format!("rank {} for all", extract.policy.max_rank)),
        ("mode", format!("[`Mode::{:?}`]", extract.mode)),
        ("dtype", extract.dtype.name().to_ascii_lowercase()),
        ("format", format!("[`AdapterFormat::{:?}`]", extract.format)),
        ("chunk_bytes", format!("{} MiB", extract.chunk_bytes >> 20)),
        ("choose_dtype", if extract.choose_dtype { "yes" } else { "no" }.to_owned()),
        ("complete_kinds", if extract.complete_kinds { "yes" } else { "no" }.to_owned()),
    ] {
        let said = default_of(&checkpoint, field);
        assert!(said.starts_with(&value), "ExtractOptions::{field}: {said}, but {value}");
    }
    assert_eq!((extract.max_reads, extract.tolerance), (options.max_reads, options.tolerance));
    for (file, name) in [("ffi/src/options.rs", "Options"), ("ffi/src/files/file_options.rs", "FileOptions")]
    {
        let source = read(file);
        assert_eq!(default_of(&source, "rank"), options.rank.to_string(), "{name}");
        assert_eq!(default_of(&source, "max_reads"), options.max_reads.to_string(), "{name}");
    }
}

#[test]
fn the_c_functions_over_files_are_those_of_the_page() {
    let page = read("docs/c.md");
    let symbols = read("ffi/abi/symbols.txt");
    let over_files =
        |name: &&str| (name.ends_with("_files") || name.ends_with("_file")) && *name != "phlora_read_files";
    let exported: Vec<_> = symbols.lines().filter(over_files).collect();
    let mut rows: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `phlora_")?.split_once('`'))
        .map(|(name, _)| format!("phlora_{name}"))
        .filter(|name| over_files(&name.as_str()))
        .collect();
    rows.sort();
    assert_eq!(rows, exported);
    // `join` is an extraction; the tables of `plan` have a function of their own.
    assert!(page.contains("Every job of the command is a function"));
    assert_eq!(exported.len(), COMMANDS.len());
}

#[test]
fn the_automatic_mode_is_as_documented() {
    let page = read("docs/policies.md");
    for words in ["narrower side is at most 128", "at most 512", "at most 1024", "a third"] {
        assert!(page.replace('\n', " ").contains(words), "{words}");
    }
    let mode = |rows, cols, rank, max_reads| {
        Plan::new(Shape { rows, cols }, &Options { rank, max_reads, ..Options::default() }).unwrap().mode()
    };
    assert_eq!(mode(128, 1024, 8, 40), Mode::Exact);
    assert_eq!(mode(1024, 128, 8, 40), Mode::Exact);
    assert_eq!(mode(129, 1024, 8, 40), Mode::MultiRead);
    assert_eq!(mode(128, 1025, 8, 40), Mode::MultiRead);
    assert_eq!(mode(512, 1024, 171, 40), Mode::Exact);
    assert_eq!(mode(513, 1024, 171, 40), Mode::MultiRead);
    assert_eq!(mode(4096, 4096, 32, 2), Mode::StreamOnce);
}

#[test]
fn figures_of_the_real_pair_are_what_is_extracted() {
    let root = tempfile::tempdir().unwrap();
    let figures = json(&repository().join("benches/results/pair.json"));
    let mut compared = 0;
    for row in figures["models"].as_array().unwrap() {
        let Some(rank) = row["rank"].as_u64() else { continue };
        let (out, report) = (root.path().join(format!("r{rank}")), root.path().join(format!("{rank}.json")));
        let (base, tuned, rank) = (tiny_llama("base"), tiny_llama("tuned"), rank.to_string());
        let (out, path) = (text(&out), text(&report));
        succeed(&["extract", &base, &tuned, "-o", &out, "--rank", &rank, "--report", &path, "--quiet"]);
        let report = json(&report);
        let off = report["total"]["energy"].as_f64().unwrap() - row["energy"].as_f64().unwrap();
        assert!(off.abs() < 5e-4, "rank {rank}: {off}");
        // The configuration holds the base's path, which is longer or shorter.
        let [written, stated] = [&report["bytes_out"], &row["bytes"]].map(|bytes| bytes.as_u64().unwrap());
        assert!(written.abs_diff(stated) < 500, "rank {rank}: {written} bytes, {stated} stated");
        compared += 1;
    }
    assert!(compared >= 6);
}
