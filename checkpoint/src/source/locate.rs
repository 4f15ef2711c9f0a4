//! Which files a path means: one file, an indexed directory, or a plain directory.

use crate::error::{Error, Result};
use crate::source::gguf::is_later_file;
use crate::source::hub;
use crate::source::json_file::read_json;
use crate::source::mapped::Mapped;
use crate::source::not_weights::{has_pickle_name, refuse};
use crate::source::place::{check_address, is_address};
use crate::source::remote;
use crate::source::similar;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// What is wrong with an adapter in the place of a model.
pub(crate) const AN_ADAPTER: &str = "a LoRA adapter, not a model: name the weights of a whole model; `phlora merge` \
                                     makes them of a base and an adapter";

/// What helps where weights are not there.
const DOWNLOAD: &str = "download the weights as well, as with `hf download`";

/// Most files of a model.
const MAX_FILES: usize = 1 << 14;

/// Names at most this many files or directories.
const NAMED: usize = 5;

/// The files of a model.
#[derive(Debug)]
pub(crate) struct Files {
    /// Where `config.json` would be.
    pub(crate) directory: PathBuf,
    /// Safetensors files, sorted by path; or one file that may as well be GGUF.
    pub(crate) paths: Vec<PathBuf>,
    /// Tensor name → file, where there is an index.
    pub(crate) index: Option<Index>,
}

/// A sharded model's index.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) path: PathBuf,
    /// Which of the [paths](Files::paths).
    pub(crate) file_of: BTreeMap<String, usize>,
}

/// Finds the files that `path` means; does not open them.
pub(crate) fn locate(path: &Path) -> Result<Files> {
    if is_address(path) {
        return at_address(path);
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => match hub::cached(path)? {
            Some(snapshot) => return locate(&snapshot),
            None => return Err(Error::io(path, "open", absent(path))),
        },
        Err(error) => return Err(Error::io(path, "open", error)),
    };
    if path.file_name().is_some_and(|name| name == "config.json") {
        return locate(crate::run::staging::parent(path));
    }
    if let Some(snapshot) = hub::snapshot(path)? {
        return locate(&snapshot);
    }
    if !metadata.is_dir() {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        if path.to_string_lossy().ends_with(".safetensors.index.json") {
            return indexed(directory, path);
        }
        return Ok(Files { directory, paths: vec![path.to_owned()], index: None });
    }
    let directory = path.to_owned();
    let index = directory.join(INDEX);
    if index.exists() {
        return indexed(directory, &index);
    }
    let single = directory.join(SINGLE);
    if single.exists() {
        return Ok(Files { directory, paths: vec![single], index: None });
    }
    let (mut paths, mut ggufs, mut pickles) = (Vec::new(), Vec::new(), Vec::new());
    let entries = fs::read_dir(path).map_err(|e| Error::io(path, "read", e))?;
    for entry in entries {
        let file = entry.map_err(|e| Error::io(path, "read", e))?.path();
        match file.extension().and_then(|e| e.to_str()) {
            // Factors of an adapter are no weights of a model.
            Some("safetensors") if !file.ends_with("adapter_model.safetensors") => paths.push(file),
            // The first file stands for a split model.
            Some("gguf") if !is_later_file(&file) => ggufs.push(file),
            _ if has_pickle_name(&file) => pickles.push(file),
            _ => {}
        }
    }
    paths.sort();
    pickles.sort();
    if !paths.is_empty() {
        return Ok(Files { directory, paths, index: None });
    }
    match (ggufs.as_slice(), pickles.first()) {
        ([_], _) => Ok(Files { directory, paths: ggufs, index: None }),
        ([], Some(pickle)) if !path.join("adapter_config.json").exists() => Err(named_as_pickle(pickle)),
        ([], _) => Err(Error::format(path, nothing(path))),
        _ => Err(Error::format(path, several(ggufs))),
    }
}

/// The same for an address, which is that of a file where it ends as one does. What is in a directory is not known there.
fn at_address(path: &Path) -> Result<Files> {
    let directory = || path.parent().unwrap_or(Path::new("")).to_owned();
    check_address(path)?;
    if path.to_string_lossy().ends_with(".safetensors.index.json") {
        return indexed(directory(), path);
    }
    if path.file_name().is_some_and(|name| name == "config.json") {
        return at_address(&directory());
    }
    if path.extension().is_some_and(|end| end == "safetensors" || end == "gguf")
        || path.to_string_lossy().contains('?')
    {
        return Ok(Files { directory: directory(), paths: vec![path.to_owned()], index: None });
    }
    let index = path.join(INDEX);
    if remote::read_small(&index, 0)?.is_some() {
        return indexed(path.to_owned(), &index);
    }
    let single = path.join(SINGLE);
    if remote::read_small(&single, 0)?.is_some() {
        return Ok(Files { directory: path.to_owned(), paths: vec![single], index: None });
    }
    let adapter = remote::read_small(&path.join("adapter_config.json"), 0)?.is_some();
    let problem = format!(
        "neither {INDEX} nor {SINGLE} is there: name the file of the weights, as in {}/model.gguf",
        path.display()
    );
    Err(Error::format(path, if adapter { AN_ADAPTER.to_owned() } else { problem }))
}

/// What is wrong with the file `path`, which is named as a pickle.
pub(crate) fn named_as_pickle(path: &Path) -> Error {
    let refused = Mapped::open(path).and_then(|mapped| refuse(path, mapped.bytes()));
    let safetensors =
        || Error::format(path, "a safetensors file under another name: rename it to .safetensors");
    refused.err().unwrap_or_else(safetensors)
}

/// Why a path that is not there cannot be opened.
pub(crate) fn absent(path: &Path) -> io::Error {
    let meant = similar::path(path).map(|meant| format!("; did you mean {}?", meant.display()));
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or directory{}", meant.unwrap_or_default()))
}

/// Why a directory without weights does not do.
fn nothing(path: &Path) -> String {
    let here = |name: &str| path.join(name).exists();
    if here("adapter_config.json") {
        return AN_ADAPTER.to_owned();
    }
    if here("zero_to_fp32.py") {
        return "a checkpoint of DeepSpeed without whole weights: its zero_to_fp32.py writes them".to_owned();
    }
    let expected = "expected model.safetensors, shards with model.safetensors.index.json, or a GGUF file";
    let models = models_in(path);
    if !models.is_empty() {
        let what = if here("model_index.json") { "a pipeline of several models" } else { "no weights here" };
        return format!("{what}, but in directories of it: name one of them: {}", list(&models));
    }
    if here("config.json") {
        return format!("a configuration without weights: {expected}; {DOWNLOAD}");
    }
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
        return format!("an empty directory: {expected}");
    }
    format!("no safetensors or GGUF file in this directory: {expected}")
}

/// The directories in `path` that hold weights, sorted.
fn models_in(path: &Path) -> Vec<PathBuf> {
    let weights = |file: &Path| {
        let end = file.extension().and_then(|end| end.to_str());
        matches!(end, Some("safetensors" | "gguf")) || has_pickle_name(file)
    };
    let files =
        |directory: &Path| fs::read_dir(directory).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
    let mut found: Vec<_> =
        files(path).filter(|below| below.is_dir() && files(below).any(|file| weights(&file))).collect();
    found.sort();
    found
}

/// Why a directory of several GGUF models does not do.
fn several(mut models: Vec<PathBuf>) -> String {
    models.sort();
    format!("{} GGUF models in this directory; name one of them: {}", models.len(), list(&models))
}

/// The names of the first of some files.
fn list(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().take(NAMED).filter_map(|file| file.file_name()?.to_str()).collect();
    let more = if files.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// Reads the index and checks that every file that it names is there.
fn indexed(directory: PathBuf, path: &Path) -> Result<Files> {
    let json = read_json(path)?;
    let (mut places, mut numbers, mut problem) = (Vec::new(), HashMap::new(), None);
    let mut file_of = BTreeMap::new();
    let is_map = json.root().at("weight_map").each_entry(|tensor, file| {
        let name = file.text().filter(|file| is_below(Path::new(&**file)));
        let Some(name) = name else {
            let what = "its weight_map entry is not the name of a file in this directory";
            problem = Some(Error::tensor(path, &tensor, what));
            return false;
        };
        let number = *numbers.entry(name).or_insert_with_key(|name| {
            places.push(directory.join(&**name));
            places.len() - 1
        });
        if places.len() > MAX_FILES {
            problem = Some(Error::format(path, format!("it names more than {MAX_FILES} files")));
            return false;
        }
        file_of.insert(tensor.into_owned(), number);
        true
    });
    match problem {
        Some(problem) => return Err(problem),
        None if !is_map => return Err(Error::format(path, "it has no weight_map")),
        None => {}
    }
    // Sorted by path, as all files are.
    let mut paths = places.clone();
    paths.sort();
    paths.dedup();
    let sorted: Vec<_> = places.iter().map(|place| paths.binary_search(place).unwrap_or_default()).collect();
    for number in file_of.values_mut() {
        *number = sorted[*number];
    }
    // A file at an address that is not there says so when it is opened.
    let is_missing = |file: &Path| !is_address(file) && !file.exists();
    let missing: Vec<_> = (0..paths.len()).filter(|number| is_missing(&paths[*number])).collect();
    if let Some((tensor, number)) =
        missing.first().and_then(|file| file_of.iter().find(|(_, of)| *of == file))
    {
        let others = match missing.len() - 1 {
            0 => String::new(),
            others => format!(", as are {others} others of {}", paths.len()),
        };
        let file = paths[*number].display();
        let problem = format!("the index names the shard {file}, which is missing{others}; {DOWNLOAD}");
        return Err(Error::tensor(path, tensor, problem));
    }
    Ok(Files { directory, paths, index: Some(Index { path: path.to_owned(), file_of }) })
}

/// Whether it is a file beside the index or below it: never elsewhere on the machine.
fn is_below(file: &Path) -> bool {
    file.file_name().is_some()
        && file.components().all(|name| matches!(name, Component::Normal(_) | Component::CurDir))
}
