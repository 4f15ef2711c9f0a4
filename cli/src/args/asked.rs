//! What decides the adapter of an extraction, as words: the same however it was typed, and without paths.

use super::Cli;
use crate::reported::quoted;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};
use std::path::Path;

/// What does not change the adapter, or is said elsewhere.
const LEFT: [&str; 19] = [
    "base",
    "tuned",
    "output",
    "threads",
    "scratch",
    "memory",
    "shard",
    "parts",
    "resume",
    "fresh",
    "dry_run",
    "modelfile",
    "report",
    "base_name",
    "force",
    "modules",
    "json",
    "help",
    "prefix",
];

/// Options that name files.
const FILES: [&str; 2] = ["deployed_base", "channel_scale"];

/// The options of `phlora extract` that were given, in the order of its help.
pub fn words(matches: &ArgMatches) -> String {
    let command = Cli::command();
    let Some(extract) = command.find_subcommand("extract") else { return String::new() };
    let given = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        !LEFT.contains(&id) && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let mut words = Vec::new();
    for arg in extract.get_arguments().filter(given) {
        let (id, name) = (arg.get_id().as_str(), format!("--{}", arg.get_long().unwrap_or_default()));
        if !arg.get_action().takes_values() {
            words.push(name);
            continue;
        }
        for values in matches.get_raw_occurrences(id).into_iter().flatten() {
            let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
            let text = values.join(",");
            let file = Path::new(&text).file_name().filter(|_| FILES.contains(&id));
            let text = file.map_or(text.clone(), |name| name.to_string_lossy().into_owned());
            words.extend([name.clone(), quoted(&text)]);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(typed: &str) -> String {
        let matches = Cli::command().try_get_matches_from(typed.split(' ')).unwrap();
        words(matches.subcommand().unwrap().1)
    }

    #[test]
    fn the_same_extraction_has_the_same_words() {
        let long =
            "phlora extract /data/base tuned --output /tmp/out --rank 8 --include q_proj --threads 2 --quiet";
        assert_eq!(of(long), "--include q_proj --rank 8");
        assert_eq!(of("phlora extract b t -r 8 --include q_proj -o x --json --force"), of(long));
        assert_eq!(of("phlora extract b t -o x --deployed-base /data/q4.gguf"), "--deployed-base q4.gguf");
        assert_eq!(of("phlora extract b t -o x"), "");
    }
}
