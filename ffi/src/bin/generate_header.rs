//! Writes `include/phlora.h` to standard output: cbindgen, with the version put in and the guard's pointer
//! types shown as the plain pointers that they are.
//!
//! `cargo run -p phlora-ffi --features generate --bin generate-header > include/phlora.h`

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match header() {
        Ok(header) => match std::io::stdout().write_all(header.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            eprintln!("generate-header: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn header() -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let bindings = cbindgen::generate_with_config(root, config).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Ok(short_comments(&plain_pointers(&version(&text))))
}

/// Replaces the version's placeholders.
fn version(text: &str) -> String {
    text.replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR"))
        .replace("@MINOR@", env!("CARGO_PKG_VERSION_MINOR"))
        .replace("@PATCH@", env!("CARGO_PKG_VERSION_PATCH"))
}

/// Takes out the typedefs `typedef TARGET *In_name;` with their comments, and writes `TARGET *` where they are
/// used.
fn plain_pointers(text: &str) -> String {
    let (mut kept, mut types) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let alias = line.strip_prefix("typedef ").and_then(|rest| rest.strip_suffix(';'));
        let alias = alias.and_then(|rest| rest.rsplit_once('*'));
        match alias.filter(|(_, name)| {
            ["In_", "Out_", "StatePointer_", "Opaque"].iter().any(|p| name.starts_with(p))
        }) {
            Some((target, name)) => {
                types.push((name.to_owned(), format!("{target}*")));
                while kept.last().is_some_and(|line: &&str| line.starts_with([' ', '/'])) {
                    kept.pop();
                }
                if kept.last().is_some_and(|line| line.is_empty()) {
                    kept.pop();
                }
            }
            None => kept.push(line),
        }
    }
    let mut text = kept.join("\n") + "\n";
    // Longer names first: one may be the beginning of another, or its target.
    types.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for _ in 0..2 {
        for (name, target) in &types {
            text =
                text.replace(&format!("{name} "), target).replace(&format!("{name}*"), &format!("{target}*"));
        }
    }
    // Pointers to pointers, both of them read through.
    let lines = text.lines().map(|line| match line.split_once("const const ") {
        Some((before, rest)) => format!("{before}const {}", rest.replacen("**", "*const *", 1)),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Writes comments of one line on one line.
fn short_comments(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let (mut short, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at) {
        if line.trim() == "/**" && lines.get(at + 2).is_some_and(|end| end.trim() == "*/") {
            short.push(format!("{line} {} */", lines[at + 1].trim_start_matches([' ', '*'])));
            at += 3;
        } else {
            short.push((*line).to_owned());
            at += 1;
        }
    }
    short.join("\n") + "\n"
}
