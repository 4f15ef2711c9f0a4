//! A model: the tensors of one or more mapped safetensors files under their names.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::header;
use crate::locate::{Files, locate};
use crate::mapped::Mapped;
use phlora_core::{Dtype, Rows};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A model on disk, mapped and never loaded whole.
#[derive(Debug)]
pub struct Model {
    path: PathBuf,
    config: Config,
    shards: Vec<Mapped>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    shard: usize,
    stored: header::Entry,
}

/// A tensor of a [`Model`].
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'m> {
    source: &'m Mapped,
    stored: &'m header::Entry,
    bytes: &'m [u8],
}

impl Model {
    /// Opens a `.safetensors` file, a directory with `model.safetensors` or with shards and their
    /// `model.safetensors.index.json`, or that index itself. Every header is checked; no weight is read.
    ///
    /// The files stay mapped and must not change meanwhile: other bytes change the result, and where a file
    /// gets shorter the system ends this process (SIGBUS).
    ///
    /// # Errors
    /// When a file is missing, cannot be mapped, or is not sound safetensors; file and tensor are named.
    pub fn open(path: &Path) -> Result<Self> {
        let files = locate(path)?;
        let config = Config::read(&files.directory)?;
        let mut shards = Vec::with_capacity(files.shards.len());
        let mut tensors = BTreeMap::<String, Entry>::new();
        for file in &files.shards {
            let mapped = Mapped::open(file)?;
            for stored in header::parse(file, mapped.bytes())? {
                if belongs_elsewhere(&files, &stored.name, file) {
                    continue;
                }
                let entry = Entry { shard: shards.len(), stored };
                if let Some(other) = tensors.insert(entry.stored.name.clone(), entry) {
                    let first: &Mapped = &shards[other.shard];
                    let problem = format!("also in {}", first.path().display());
                    return Err(Error::tensor(file, &other.stored.name, problem));
                }
            }
            shards.push(mapped);
        }
        let missing = files.index.as_ref().and_then(|index| {
            let found = index.shard_of.iter().find(|(name, _)| !tensors.contains_key(*name));
            found.map(|(name, shard)| (index, name, shard))
        });
        if let Some((index, name, shard)) = missing {
            let problem = format!("the index says it is in {}, which does not hold it", shard.display());
            return Err(Error::tensor(&index.path, name, problem));
        }
        if let Some(prefix) = config.missing_prefix(tensors.keys().map(String::as_str)) {
            tensors = tensors.into_iter().map(|(name, entry)| (full_name(prefix, name), entry)).collect();
        }
        Ok(Self { path: path.to_owned(), config, shards, tensors })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its `config.json` says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its safetensors files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(Mapped::path)
    }

    /// Its tensors by full name, sorted. The full name is the path in the model that `config.json` names; it
    /// differs from the name in the file where that was saved without the base model's prefix.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Tensor<'_>)> {
        self.tensors.iter().map(|(name, entry)| (name.as_str(), self.view(entry)))
    }

    /// The tensor with this full name.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.tensors.get(name).map(|entry| self.view(entry))
    }

    fn view<'m>(&'m self, entry: &'m Entry) -> Tensor<'m> {
        let shard = &self.shards[entry.shard];
        // In bounds: the header was checked against these very bytes.
        let bytes = &shard.bytes()[entry.stored.range.clone()];
        Tensor { source: shard, stored: &entry.stored, bytes }
    }
}

impl<'m> Tensor<'m> {
    /// The file that holds it.
    pub fn file(&self) -> &'m Path {
        self.source.path()
    }

    /// Its name in that file.
    pub fn stored_name(&self) -> &'m str {
        &self.stored.name
    }

    /// Its dtype as the file writes it, e.g. `BF16`.
    pub fn dtype_name(&self) -> &'m str {
        &self.stored.dtype
    }

    /// Its dtype if that is one of those read here.
    pub fn dtype(&self) -> Option<Dtype> {
        let read = Dtype::ALL.iter().filter(|dtype| !dtype.is_block());
        read.copied().find(|dtype| dtype.name() == self.stored.dtype)
    }

    /// Its shape, slowest axis first.
    pub fn shape(&self) -> &'m [usize] {
        &self.stored.shape
    }

    /// Its bytes, mapped.
    pub fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.stored.shape.iter().product()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.stored.shape.contains(&0)
    }

    /// Asks the system to read it ahead; only the time depends on it.
    pub(crate) fn will_need(&self) {
        self.source.will_need(self.stored.range.clone());
    }

    /// The entries `range` (row-major) in their storage format; none where the range does not begin and end
    /// at whole blocks of the format, or leaves the tensor.
    pub(crate) fn entries(&self, dtype: Dtype, range: Range<usize>) -> Rows<'m> {
        let bytes = dtype.row_bytes(range.start).zip(dtype.row_bytes(range.end));
        Rows::new(dtype, bytes.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default())
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> Error {
        Error::tensor(self.file(), self.stored_name(), problem)
    }
}

/// Whether the index assigns `tensor` to another file than `file`.
fn belongs_elsewhere(files: &Files, tensor: &str, file: &Path) -> bool {
    let assigned = files.index.as_ref().and_then(|index| index.shard_of.get(tensor));
    assigned.is_some_and(|shard| shard != file)
}

/// `name` below `prefix`, unless it is the output head, which is beside the base model.
fn full_name(prefix: &str, name: String) -> String {
    if name.starts_with("lm_head.") { name } else { format!("{prefix}.{name}") }
}
