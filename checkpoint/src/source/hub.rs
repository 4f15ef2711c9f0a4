//! The local cache of the Hugging Face hub: models by their id, and directories of the cache.

use crate::error::{Error, Result};
use crate::source::place::hub_id;
use crate::source::similar;
use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The snapshot that a directory of the cache, `models--ORG--NAME`, stands for; `None` where `path` is none.
pub(crate) fn snapshot(path: &Path) -> Result<Option<PathBuf>> {
    let snapshots = path.join("snapshots");
    if !snapshots.is_dir() || !path.join("refs").is_dir() {
        return Ok(None);
    }
    let revision = fs::read_to_string(path.join("refs").join("main")).unwrap_or_default();
    let named = snapshots.join(revision.trim());
    if !revision.trim().is_empty() && is_inside(revision.trim()) && named.is_dir() {
        return Ok(Some(named));
    }
    let entries = fs::read_dir(&snapshots).map_err(|e| Error::io(&snapshots, "read", e))?;
    let mut found: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    match found.as_slice() {
        [only] => Ok(Some(only.clone())),
        [] => {
            let problem = format!(
                "a directory of the hub's cache without a snapshot; `hf download {}` brings one",
                id(path)
            );
            Err(Error::format(path, problem))
        }
        _ => {
            let problem = format!(
                "a directory of the hub's cache with {} snapshots and no refs/main; name one of those in {}",
                found.len(),
                snapshots.display()
            );
            Err(Error::format(path, problem))
        }
    }
}

/// The snapshot of the model whose id `path` is, as in `org/name`, if it is in the cache here; `None` where it is no id.
///
/// # Errors
/// When it can only be an id, and is not in the cache.
pub(crate) fn cached(path: &Path) -> Result<Option<PathBuf>> {
    let names: Vec<_> = path.components().collect();
    let [Component::Normal(org), Component::Normal(name)] = names.as_slice() else { return Ok(None) };
    let (Some(org), Some(name), Some(cache)) = (org.to_str(), name.to_str(), directory()) else {
        return Ok(None);
    };
    // Beside a directory of this name it is a path.
    let file =
        Path::new(name).extension().is_some_and(|end| end == "safetensors" || end == "gguf" || end == "json");
    if Path::new(org).exists() || file {
        return Ok(None);
    }
    let directory = cache.join(format!("models--{org}--{name}"));
    if !directory.is_dir() {
        let cache = cache.display();
        let meant = similar::path(path).map(|meant| format!("; did you mean {}?", meant.display()));
        let problem = format!(
            "no such file or directory, and no model of this id in the hub's cache {cache}; `hf download {org}/{name}` \
             brings it there{}",
            meant.unwrap_or_default()
        );
        return Err(Error::format(path, problem));
    }
    snapshot(&directory)
}

/// The id of the model that a directory of the cache, `models--ORG--NAME`, is for.
fn id(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix("models--").unwrap_or(&name).replacen("--", "/", 1)
}

/// Where the cache is, by the variables that the hub's own library reads.
fn directory() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").or_else(|| set("USERPROFILE"));
    set("HF_HUB_CACHE")
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("huggingface").join("hub")))
        .or_else(|| Some(home()?.join(".cache").join("huggingface").join("hub")))
}

/// Whether a revision is one name.
fn is_inside(revision: &str) -> bool {
    Path::new(revision).components().all(|name| matches!(name, Component::Normal(_)))
}

/// The id of the model that lies at `path`, where that is in a cache of the hub.
pub(crate) fn id_of(path: &Path) -> Option<String> {
    if let Some(id) = hub_id(path) {
        return Some(id);
    }
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    [path, &whole].into_iter().find_map(|path| {
        let names = path.components().filter_map(|name| name.as_os_str().to_str());
        let named = names.filter_map(|name| name.strip_prefix("models--"));
        named.filter_map(|name| name.split_once("--")).map(|(org, name)| format!("{org}/{name}")).next_back()
    })
}

/// Whether a name that a configuration states is an id of the hub and no path of a machine.
pub(crate) fn is_id(name: &str) -> bool {
    let word = |text: &str| {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let words: Vec<_> = name.split('/').collect();
    matches!(words.as_slice(), [_] | [_, _])
        && words.iter().all(|text| word(text))
        && !Path::new(name).exists()
}

/// The last name of a path; of a file without what follows its last dot.
pub(crate) fn short_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = if path.is_dir() { whole.file_name() } else { path.file_stem() };
    name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ids_and_no_paths() {
        let id = |path: &str| id_of(Path::new(path));
        let cache = "/h/.cache/huggingface/hub/models--org--some-name";
        assert_eq!(id(&format!("{cache}/snapshots/abc")).as_deref(), Some("org/some-name"));
        assert_eq!(id(&format!("{cache}/snapshots/abc/model.safetensors")).as_deref(), Some("org/some-name"));
        assert_eq!(id("/data/models/base"), None);
        for name in ["org/name", "gpt2", "Qwen/Qwen2.5-0.5B"] {
            assert!(is_id(name), "{name}");
        }
        for name in ["", "/data/base", "./base", "~/base", "a/b/c", "..", "C:\\base", "org/", "src"] {
            assert!(!is_id(name), "{name}");
        }
        assert_eq!(short_name(Path::new("/data/base.safetensors")), "base");
    }
}
