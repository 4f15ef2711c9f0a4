//! What the adapters of several fine-tunes are called.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// File names that say nothing about a model.
const USUAL: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// A name for each fine-tune: the last part of its path or address, with parts before it where others have the same.
///
/// # Errors
/// When one is named twice.
pub fn names(tuned: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let parts: Vec<_> = tuned.iter().map(|path| parts(path)).collect();
    let mut depths = vec![1; tuned.len()];
    loop {
        let name = |(parts, &depth): (&Vec<String>, &usize)| {
            parts[..depth.min(parts.len())].iter().rev().cloned().collect::<Vec<_>>().join("-")
        };
        let names: Vec<_> = parts.iter().zip(&depths).map(name).collect();
        let mut same = BTreeMap::<_, Vec<usize>>::new();
        for (number, name) in names.iter().enumerate() {
            // Some file systems do not tell cases apart.
            same.entry(name.to_lowercase()).or_default().push(number);
        }
        let Some(same) = same.into_values().find(|same| same.len() > 1) else { return Ok(names) };
        let longer: Vec<_> = same.iter().copied().filter(|&at| depths[at] < parts[at].len()).collect();
        if longer.is_empty() {
            let [first, second] = [same[0], same[1]].map(|at| tuned[at].display());
            let problem =
                format!("{first} and {second} cannot be told apart by name: name each fine-tune once");
            return Err(Failure::Usage(problem));
        }
        for at in longer {
            depths[at] += 1;
        }
    }
}

/// What names a model, the last first.
fn parts(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = if phlora::is_address(path) {
        let text = path.to_string_lossy();
        let place = text.split_once("://").map_or(&*text, |(_, place)| place);
        let place = place.split(['?', '#']).next().unwrap_or_default();
        place.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    } else {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let named = |part: Component<'_>| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        };
        whole.components().filter_map(named).collect()
    };
    parts.reverse();
    if parts.len() > 1 && parts.first().is_some_and(|file| USUAL.contains(&file.as_str())) {
        parts.remove(0);
    }
    // A snapshot of the hub's cache: models--ORG--NAME/snapshots/COMMIT.
    if let [commit, snapshots, model, rest @ ..] = parts.as_slice()
        && let Some((org, name)) = model.strip_prefix("models--").and_then(|model| model.split_once("--"))
        && snapshots == "snapshots"
    {
        let named = [name, commit, org].map(str::to_owned);
        parts = named.into_iter().chain(rest.iter().cloned()).collect();
    }
    let parts: Vec<_> = parts.iter().map(|part| plain(part)).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { vec!["model".to_owned()] } else { parts }
}

/// A part as it can be in the name of a file, without the ending of one.
fn plain(part: &str) -> String {
    let stem = [".safetensors", ".gguf", ".index.json"].iter().find_map(|end| part.strip_suffix(end));
    let stem = stem.unwrap_or(part);
    let is_plain = |c: char| c.is_alphanumeric() || "-_.@+=,".contains(c);
    let name: String = stem.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    name.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tuned: &[&str]) -> Vec<String> {
        names(&tuned.iter().map(PathBuf::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn names_are_the_last_parts_that_differ() {
        assert_eq!(of(&["/m/chat", "/m/code/", "hf://org/math@v1"]), ["chat", "code", "math@v1"]);
        assert_eq!(of(&["/m/a/last", "/m/b/last", "/m/c"]), ["a-last", "b-last", "c"]);
        assert_eq!(of(&["/m/a/model.safetensors", "/m/b.gguf", "/m/c d"]), ["a", "b", "c-d"]);
        assert_eq!(of(&["/m/A", "/m/x/a", "/a-b", "/n/x-a"]), ["m-A", "m-x-a", "a-b", "n-x-a"]);
        assert_eq!(of(&["https://h/q/t?sig=1", "s3://b/t"]), ["q-t", "b-t"]);
        let snapshot = "/c/models--org--name/snapshots/0123";
        assert_eq!(of(&[snapshot, "/c/other"]), ["name", "other"]);
    }

    #[test]
    fn one_that_is_named_twice_is_refused() {
        let twice = [PathBuf::from("/m/chat"), PathBuf::from("/m/chat/")];
        let said = format!("{:?}", names(&twice).unwrap_err());
        assert!(said.contains("/m/chat and /m/chat/ cannot be told apart"), "{said}");
    }
}
