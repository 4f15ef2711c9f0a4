//! A model: the tensors of one or more mapped files under their names.

mod compose;

use crate::error::{Error, Result, push};
use crate::source::config::Config;
use crate::source::gguf;
use crate::source::locate::{Files, locate};
use crate::source::mapped::Mapped;
use crate::source::quantized::Recipe;
use crate::source::remote::Hold;
use crate::source::safetensors;
use crate::source::stored::Stored;
use crate::source::tensor::{Beside, Expert, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A model on disk or at an address, mapped and never loaded whole.
#[derive(Debug)]
pub struct Model {
    path: PathBuf,
    config: Config,
    container: Container,
    files: Vec<Mapped>,
    /// What the files hold: number of the file, tensor.
    stored: Vec<(usize, Stored)>,
    /// The weights that several of them are together.
    quantized: Vec<Recipe>,
    /// Where the components of each beside its codes are: number of the file, range.
    beside: Vec<Vec<(usize, Range<usize>)>>,
    /// What says how weights are quantised, of files at addresses.
    kept: Option<Hold>,
    tensors: BTreeMap<String, Place>,
}

/// The file format of a model. Names and the order of rows depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// Safetensors, with the names of the model's own framework.
    Safetensors,
    /// GGUF, with the names of llama.cpp.
    Gguf {
        /// Version of the format.
        version: u32,
        /// `general.architecture`, e.g. `llama`.
        architecture: Option<String>,
    },
}

/// Where the tensor with a full name is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index into `Model::stored`, of a quantised weight that of its codes.
    stored: usize,
    expert: Option<Expert>,
    /// Index into `Model::quantized`.
    quantized: Option<usize>,
}

impl Model {
    /// Opens a model, on disk or, with the feature `remote`, at an address (`hf://ORG/MODEL[@REVISION]`, `https://…`, `s3://…`, `gs://…`,
    /// `az://…`): a `.safetensors` file, a directory with `model.safetensors` or with shards and their
    /// `model.safetensors.index.json`, that index itself; a GGUF file, any file of a split GGUF model, or a
    /// directory with one GGUF model. Every header is checked; no weight is read.
    ///
    /// Each expert of a GGUF tensor of experts, `blk.0.ffn_up_exps.weight` [experts, out, in], is a tensor
    /// of its own here: `blk.0.ffn_up_exps.3.weight` [out, in].
    ///
    /// The files stay mapped and must not change meanwhile: other bytes change the result, and where a file
    /// gets shorter the system ends this process (SIGBUS).
    ///
    /// # Errors
    /// When a file is missing, cannot be mapped, or is not sound; file and tensor or key are named.
    pub fn open(path: &Path) -> Result<Self> {
        let files = locate(path)?;
        let mut only = None;
        if let ([file], None) = (files.paths.as_slice(), &files.index) {
            let mapped = Mapped::open(file)?;
            if gguf::is_gguf(mapped.bytes()) {
                return Self::open_gguf(path, mapped);
            }
            only = Some(mapped);
        }
        Self::open_safetensors(path, &files, only)
    }

    /// `only` is the one file, where there is one that is open.
    fn open_safetensors(path: &Path, files: &Files, mut only: Option<Mapped>) -> Result<Self> {
        let config = Config::read(&files.directory)?;
        let mut model = Self::empty(path, config, Container::Safetensors);
        let (mut tensors, mut headers) = (0, 0);
        for (number, file) in files.paths.iter().enumerate() {
            let mapped = only.take().map_or_else(|| Mapped::open(file), Ok)?;
            let stored = safetensors::parse(file, mapped.bytes(), mapped.len())?;
            (tensors, headers) = (tensors + stored.len(), headers + safetensors::header_len(mapped.bytes()));
            if tensors > most_tensors(headers) {
                let problem =
                    format!("{tensors} tensors in headers of {headers} bytes are more than any model has");
                return Err(Error::format(file, problem));
            }
            model.add(mapped, stored.into_iter().filter(|s| !belongs_elsewhere(files, &s.name, number)))?;
        }
        let missing = files.index.as_ref().and_then(|index| {
            let found = index.file_of.iter().find(|(name, _)| !model.tensors.contains_key(*name));
            found.map(|(name, file)| (index, name, &files.paths[*file]))
        });
        if let Some((index, name, file)) = missing {
            let problem = format!("the index says it is in {}, which does not hold it", file.display());
            return Err(Error::tensor(&index.path, name, problem));
        }
        model.compose()?;
        if let Some(prefix) = model.config.missing_prefix(model.tensors.keys().map(String::as_str)) {
            let tensors = std::mem::take(&mut model.tensors);
            model.tensors =
                tensors.into_iter().map(|(name, place)| (full_name(prefix, name), place)).collect();
        }
        Ok(model)
    }

    /// `first` is the file that was named.
    fn open_gguf(path: &Path, first: Mapped) -> Result<Self> {
        let files = gguf::read_files(first)?;
        let mut model = Self::empty(path, Config::default(), Container::Safetensors);
        // The keys of a split model are in its first file.
        if let Some(first) = files.first() {
            let (version, architecture) = (first.version, first.architecture.clone());
            model.container = Container::Gguf { version, architecture };
            model.config.heads = first.heads;
        }
        for file in files {
            model.add(file.mapped, file.tensors)?;
        }
        let tied =
            model.tensors.contains_key("token_embd.weight") && !model.tensors.contains_key("output.weight");
        model.config.tied = Some(tied);
        model.expand_experts()?;
        Ok(model)
    }

    fn empty(path: &Path, config: Config, container: Container) -> Self {
        let (files, stored, tensors) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (quantized, beside, kept) = (Vec::new(), Vec::new(), None);
        Self { path: path.to_owned(), config, container, files, stored, quantized, beside, kept, tensors }
    }

    /// Takes in what `mapped` holds.
    fn add(&mut self, mapped: Mapped, tensors: impl IntoIterator<Item = Stored>) -> Result<()> {
        for stored in tensors {
            let place = Place { stored: self.stored.len(), expert: None, quantized: None };
            if let Some(other) = self.tensors.insert(stored.name.clone(), place) {
                let first = &self.files[self.stored[other.stored].0];
                let problem = format!("also in {}", first.path().display());
                return Err(Error::tensor(mapped.path(), &stored.name, problem));
            }
            push(&mut self.stored, (self.files.len(), stored))?;
        }
        self.files.push(mapped);
        Ok(())
    }

    /// How its weights are quantised, where they are.
    pub fn quantization(&self) -> Option<String> {
        let first = self.quantized.first()?;
        let stated = self.config.quantization.as_ref().map(ToString::to_string);
        Some(stated.unwrap_or_else(|| self.stored[first.codes].1.dtype_name.clone()))
    }

    /// Refuses a model whose weights are quantised in a way that is not read.
    pub(crate) fn check_method(&self) -> Result<()> {
        let Some(method) = self.config.quantization.as_ref() else { return Ok(()) };
        let Some(why) = method.unread else { return Ok(()) };
        // A configuration may have outlived its quantised weights.
        if self.tensors().all(|(_, tensor)| tensor.dtype().is_some()) {
            return Ok(());
        }
        let problem = format!(
            "its weights are quantised with {method}: {why}, expected FP8, MXFP4, NVFP4, compressed-tensors, \
             bitsandbytes, GPTQ or AWQ; take the checkpoint that it was made from"
        );
        Err(Error::format(&self.path, problem))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its `config.json` says; of a GGUF model, its heads and whether its output head is tied.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The format of its files.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// `general.architecture` of a GGUF model, else the `model_type` in its `config.json`.
    pub fn architecture(&self) -> Option<&str> {
        match &self.container {
            Container::Gguf { architecture, .. } => architecture.as_deref(),
            Container::Safetensors => self.config.model_type.as_deref(),
        }
    }

    /// The full names of its tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn is_gguf(&self) -> bool {
        matches!(self.container, Container::Gguf { .. })
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(Mapped::path)
    }

    /// The parsed files of a GGUF model, the one with the model's keys first; nothing for other models.
    pub(crate) fn gguf_files(&self) -> Result<Vec<(gguf::File<'_>, &[u8])>> {
        if self.container == Container::Safetensors {
            return Ok(Vec::new());
        }
        let parse =
            |file| Ok((gguf::File::parse(Mapped::path(file), file.bytes(), file.len())?, file.bytes()));
        self.files.iter().map(parse).collect()
    }

    /// Its files and all their bytes, of files at addresses those of their headers.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|file| (file.path(), file.bytes()))
    }

    /// A text for each of its files that is at an address, which is another for another version of the file.
    pub(crate) fn versions(&self) -> impl Iterator<Item = String> {
        self.files.iter().filter_map(|file| Some(format!("{} {}", file.len(), file.remote()?.version())))
    }

    /// Refuses a model that is not on disk, for what needs all its bytes.
    pub(crate) fn check_on_disk(&self) -> Result<()> {
        match self.files.iter().find(|file| file.remote().is_some()) {
            Some(file) => Err(Error::format(
                file.path(),
                "an address, but all of its bytes are needed here: download the model",
            )),
            None => Ok(()),
        }
    }

    /// Its tensors by full name, sorted. The full name is the path in the model that `config.json` names; it
    /// differs from the name in the file where that was saved without the base model's prefix, and for the
    /// experts of a GGUF model.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Tensor<'_>)> {
        self.tensors.iter().map(|(name, place)| (name.as_str(), self.view(*place)))
    }

    /// The tensor with this full name.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.tensors.get(name).map(|place| self.view(*place))
    }

    fn view(&self, place: Place) -> Tensor<'_> {
        let (file, stored) = &self.stored[place.stored];
        let source = &self.files[*file];
        let whole = source.tensor(stored);
        let (shape, offset, length) = match place.expert {
            None => (stored.shape.as_slice(), 0, whole.len()),
            // Rows are whole blocks, and so are experts.
            Some(Expert { index, count }) => {
                let length = whole.len() / count.max(1);
                (&stored.shape[1..], index * length, length)
            }
        };
        let bytes = &whole[offset..offset + length];
        let start = stored.range.start + offset;
        let tensor = Tensor::new(source, stored, place.expert, shape, start, bytes);
        let recipe = place.quantized.map(|index| &self.quantized[index]);
        let places = place.quantized.map_or(&[][..], |index| &self.beside[index]);
        let decoded =
            recipe.and_then(|recipe| Some((recipe.decoder(|component| self.bytes(component)).ok()?, recipe)));
        let beside = Beside { files: &self.files, places };
        decoded.map_or(tensor, |(decoder, recipe)| tensor.quantized(decoder, beside, &recipe.shape))
    }

    /// The bytes of a stored tensor.
    fn bytes(&self, component: usize) -> &[u8] {
        let (file, stored) = &self.stored[component];
        self.files[*file].tensor(stored)
    }
}

/// Most tensors whose entries take so many bytes: each is held with what is known of it, so many tiny ones would take more
/// memory than their file. Entries of real models take 100 bytes and more.
const fn most_tensors(bytes: usize) -> usize {
    (1 << 15) + bytes / 96
}

/// Whether the index assigns `tensor` to another file than that of this number.
fn belongs_elsewhere(files: &Files, tensor: &str, number: usize) -> bool {
    let assigned = files.index.as_ref().and_then(|index| index.file_of.get(tensor));
    assigned.is_some_and(|file| *file != number)
}

/// `name` below `prefix`, unless it is the output head, which is beside the base model.
fn full_name(prefix: &str, name: String) -> String {
    if name.starts_with("lm_head.") { name } else { format!("{prefix}.{name}") }
}
