//! Which files a path means: one file, an indexed directory, or a plain directory.

use crate::config::read_json;
use crate::error::{Error, Result};
use crate::gguf::is_later_part;
use crate::header::pickle_advice;
use crate::hub;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// What is wrong with an adapter in the place of a model.
pub(crate) const AN_ADAPTER: &str = "a LoRA adapter, not a model: name the fine-tuned weights; `phlora merge` makes \
                                     them of a base and an adapter";

/// Names at most this many GGUF files of a directory.
const NAMED: usize = 5;

/// The files of a model.
#[derive(Debug)]
pub(crate) struct Files {
    /// Where `config.json` would be.
    pub(crate) directory: PathBuf,
    /// Safetensors files, sorted by path; or one file that may as well be GGUF.
    pub(crate) shards: Vec<PathBuf>,
    /// Tensor name → shard, where there is an index.
    pub(crate) index: Option<Index>,
}

/// A sharded model's index.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) path: PathBuf,
    pub(crate) shard_of: BTreeMap<String, PathBuf>,
}

/// Finds the files that `path` means; does not open the shards.
pub(crate) fn locate(path: &Path) -> Result<Files> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => match hub::cached(path)? {
            Some(snapshot) => return locate(&snapshot),
            None => return Err(Error::io(path, "open", error)),
        },
        Err(error) => return Err(Error::io(path, "open", error)),
    };
    if path.file_name().is_some_and(|name| name == "config.json") {
        return locate(crate::staging::parent(path));
    }
    if let Some(snapshot) = hub::snapshot(path)? {
        return locate(&snapshot);
    }
    if !metadata.is_dir() {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        if path.to_string_lossy().ends_with(".safetensors.index.json") {
            return indexed(directory, path);
        }
        return Ok(Files { directory, shards: vec![path.to_owned()], index: None });
    }
    let directory = path.to_owned();
    let index = directory.join(INDEX);
    if index.exists() {
        return indexed(directory, &index);
    }
    let single = directory.join(SINGLE);
    if single.exists() {
        return Ok(Files { directory, shards: vec![single], index: None });
    }
    let (mut shards, mut ggufs, mut pickles) = (Vec::new(), Vec::new(), Vec::new());
    let entries = fs::read_dir(path).map_err(|e| Error::io(path, "read", e))?;
    for entry in entries {
        let file = entry.map_err(|e| Error::io(path, "read", e))?.path();
        match file.extension().and_then(|e| e.to_str()) {
            // Factors of an adapter are no weights of a model.
            Some("safetensors") if !file.ends_with("adapter_model.safetensors") => shards.push(file),
            // The first part stands for a split model.
            Some("gguf") if !is_later_part(&file) => ggufs.push(file),
            Some("bin" | "pt" | "pth" | "ckpt") => pickles.push(file),
            _ => {}
        }
    }
    shards.sort();
    pickles.sort();
    if !shards.is_empty() {
        return Ok(Files { directory, shards, index: None });
    }
    match (ggufs.as_slice(), pickles.first()) {
        ([_], _) => Ok(Files { directory, shards: ggufs, index: None }),
        ([], Some(pickle)) => Err(Error::format(pickle, pickle_advice())),
        ([], None) => Err(Error::format(path, nothing(path))),
        _ => Err(Error::format(path, several(ggufs))),
    }
}

/// Why a directory without weights does not do.
fn nothing(path: &Path) -> String {
    let here = |name: &str| path.join(name).exists();
    if here("adapter_config.json") {
        return AN_ADAPTER.to_owned();
    }
    let expected = "expected model.safetensors, shards with model.safetensors.index.json, or a GGUF file";
    if here("config.json") {
        return format!("a configuration without weights: {expected}");
    }
    format!("no safetensors or GGUF file in this directory: {expected}")
}

/// Why a directory of several GGUF models does not do.
fn several(mut models: Vec<PathBuf>) -> String {
    models.sort();
    let names: Vec<_> = models.iter().take(NAMED).filter_map(|model| model.file_name()?.to_str()).collect();
    let more = if models.len() > NAMED { ", …" } else { "" };
    format!("{} GGUF models in this directory; name one of them: {}{more}", models.len(), names.join(", "))
}

/// Reads the index and checks that every shard it names is there.
fn indexed(directory: PathBuf, path: &Path) -> Result<Files> {
    let json = read_json(path)?;
    let map = json["weight_map"].as_object().ok_or_else(|| Error::format(path, "it has no weight_map"))?;
    let mut shard_of = BTreeMap::new();
    for (tensor, shard) in map {
        let shard = shard.as_str().map(Path::new).filter(|shard| {
            // A shard is a file beside the index or below it, never elsewhere on the machine.
            shard.file_name().is_some()
                && shard.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        });
        let shard = shard.ok_or_else(|| {
            Error::tensor(path, tensor, "its weight_map entry is not the name of a file in this directory")
        })?;
        shard_of.insert(tensor.clone(), directory.join(shard));
    }
    let mut shards: Vec<_> = shard_of.values().cloned().collect();
    shards.sort();
    shards.dedup();
    for shard in &shards {
        if !shard.exists() {
            let (tensor, _) = shard_of.iter().find(|(_, s)| *s == shard).expect("shards come from this map");
            let problem = format!("the index names the shard {}, which is missing", shard.display());
            return Err(Error::tensor(path, tensor, problem));
        }
    }
    Ok(Files { directory, shards, index: Some(Index { path: path.to_owned(), shard_of }) })
}
