//! Copies the files beside the weights of a model: configuration, tokenizer, index.

use super::copies::Copy;
use super::terms::NewTensor;
use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use crate::run::staging::parent;
use crate::source::json_file::read_json;
use crate::source::model::Model;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Endings of weights, which would be those of another model after merging.
const WEIGHTS: [&str; 11] =
    ["safetensors", "gguf", "bin", "pt", "pth", "ckpt", "h5", "msgpack", "onnx", "onnx_data", "ot"];

/// Directories within directories are followed this deep.
const DEPTH: usize = 8;

/// Files of a directory, by their names within it.
#[derive(Debug, Default)]
pub(super) struct Others {
    root: PathBuf,
    pub(super) files: Vec<PathBuf>,
}

/// Whether a copy of the model is a directory.
pub(super) fn is_directory(base: &Model) -> bool {
    has_directory(base) || base.files().count() > 1
}

/// Whether the model's directory is nothing but this model.
fn has_directory(base: &Model) -> bool {
    base.path().is_dir() || base.path().extension().is_some_and(|extension| extension == "json")
}

fn root(base: &Model) -> &Path {
    if base.path().is_dir() { base.path() } else { parent(base.path()) }
}

/// The names of the model's own files within its directory.
pub(super) fn names(base: &Model) -> Result<Vec<PathBuf>> {
    let root = root(base);
    let name =
        |file: &Path| file.strip_prefix(root).ok().or(file.file_name().map(Path::new)).map(Path::to_owned);
    base.files().map(|file| name(file).ok_or_else(|| Error::format(file, "it has no name"))).collect()
}

/// The files to copy.
pub(super) fn of(base: &Model) -> Result<Others> {
    let mut others = Others { root: root(base).to_owned(), files: Vec::new() };
    if has_directory(base) {
        others.collect(Path::new(""), DEPTH)?;
        others.files.sort();
    }
    Ok(others)
}

impl Others {
    fn collect(&mut self, directory: &Path, depth: usize) -> Result<()> {
        let path = self.root.join(directory);
        for entry in fs::read_dir(&path).map_err(|e| Error::io(&path, "read", e))? {
            let entry = entry.map_err(|e| Error::io(&path, "read", e))?;
            let (name, own) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with('.') || is_weights(&own) {
                continue;
            }
            // Links to files are followed, as they are in a cache of models, but none to a directory.
            if own.is_file() {
                self.files.push(directory.join(name));
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.collect(&directory.join(name), depth - 1)?;
            }
        }
        Ok(())
    }

    /// Copies them into `into` and waits until they are on disk.
    pub(super) fn copy(&self, into: &Path, target: &Path, monitor: &Monitor) -> Result<()> {
        let failed = |e| Error::io(target, "write", e);
        for name in &self.files {
            monitor.check()?;
            let (from, to) = (self.root.join(name), into.join(name));
            fs::create_dir_all(parent(&to)).map_err(failed)?;
            fs::copy(&from, &to).map_err(|e| Error::io(&from, "copy", e))?;
            File::open(&to).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// Enters `new` tensors into the index of the shards `names`, which was copied into `into`.
    pub(super) fn name_new(
        &self,
        into: &Path,
        names: &[PathBuf],
        copies: &[Copy<'_>],
        new: &[NewTensor<'_>],
    ) -> Result<()> {
        let is_index = |name: &&PathBuf| name.to_string_lossy().ends_with(".safetensors.index.json");
        let Some(name) = self.files.iter().find(is_index).filter(|_| !new.is_empty()) else { return Ok(()) };
        let path = self.root.join(name);
        let bad = |error: serde_json::Error| Error::format(&path, format!("not an index of shards: {error}"));
        let mut index: Value = serde_json::from_str(read_json(&path)?.text()).map_err(bad)?;
        if let Some(places) = index.get_mut("weight_map").and_then(Value::as_object_mut) {
            for tensor in new {
                let shard = names[tensor.file].to_string_lossy().into_owned();
                places.insert(tensor.name.clone(), shard.into());
            }
        }
        let growth: i128 = copies.iter().map(|copy| copy.layout.growth(copy.bytes)).sum();
        if let Some(size) = index.get_mut("metadata").and_then(|metadata| metadata.get_mut("total_size"))
            && let Some(sum) = size.as_u64().and_then(|size| u64::try_from(i128::from(size) + growth).ok())
        {
            *size = sum.into();
        }
        let text = serde_json::to_vec_pretty(&index).map_err(bad)?;
        let to = into.join(name);
        let write =
            || File::create(&to).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        write().map_err(|e| Error::io(&to, "write", e))
    }
}

/// Whether it is a file of weights, or the index of some in another format than safetensors.
fn is_weights(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let stem = name.strip_suffix(".index.json").filter(|stem| !stem.ends_with(".safetensors"));
    stem.or(Some(&name)).and_then(|name| name.rsplit_once('.')).is_some_and(|(_, end)| WEIGHTS.contains(&end))
}
