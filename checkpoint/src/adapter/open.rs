//! An adapter on disk, of whatever format.

use super::compact::{CompactFile, is_compact_file};
use super::gguf::{AdapterFile, key};
use super::single::{SingleFile, Style, is_single_file};
use super::{AdapterFormat, Lora, Naming, mlx, peft};
use crate::error::{Error, Result};
use crate::source::gguf::{File, is_gguf};
use crate::source::mapped::Mapped;
use crate::source::place::is_address;
use std::path::{Path, PathBuf};

/// A LoRA adapter on disk, mapped.
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Peft(Box<peft::Directory>),
    Gguf(AdapterFile),
    Single(Box<SingleFile>),
    Compact(Box<CompactFile>),
    Mlx(Box<mlx::Directory>),
}

impl Adapter {
    /// Opens a PEFT adapter directory, one of the two files in it, a GGUF adapter, the single safetensors file of
    /// kohya's scripts or ComfyUI, or phlora's own, and checks that its pairs are complete.
    ///
    /// The files stay mapped and must not change meanwhile, as for [`Model::open`](crate::Model::open).
    ///
    /// # Errors
    /// When a file is missing or unsound, or a tensor does not belong to a complete LoRA pair of the rank that
    /// the configuration says; file and tensor are named.
    pub fn open(path: &Path) -> Result<Self> {
        if is_address(path) {
            return Err(Error::format(path, "an address, but an adapter is read from files: download it"));
        }
        let source = match open_gguf(path)? {
            Some(mapped) => Source::Gguf(AdapterFile::new(mapped)),
            None if is_compact_file(path) => Source::Compact(Box::new(CompactFile::open(path)?)),
            None if is_single_file(path) => Source::Single(Box::new(SingleFile::open(path)?)),
            None if path.is_file() && AdapterFormat::of_path(path) == AdapterFormat::Gguf => {
                return Err(Error::format(path, "not a GGUF file: it does not begin with GGUF"));
            }
            None => match mlx::Directory::open(path)? {
                Some(directory) => Source::Mlx(Box::new(directory)),
                None => Source::Peft(Box::new(peft::Directory::open(path)?)),
            },
        };
        let adapter = Self { path: path.to_owned(), source };
        adapter.stored()?.check()?;
        Ok(adapter)
    }

    /// Whether `path` is an adapter of any format, sound or not.
    pub fn is_at(path: &Path) -> bool {
        is_adapter(path)
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds, with the factors as they are in the file; modules sorted by name.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where it is a DoRA adapter, whose change depends on its base.
    pub fn lora(&self) -> Result<Lora<'_>> {
        let lora = self.stored()?;
        lora.factors_alone()?;
        Ok(lora)
    }

    /// What it holds, DoRA's magnitudes as well.
    pub(crate) fn stored(&self) -> Result<Lora<'_>> {
        match &self.source {
            Source::Peft(directory) => directory.lora(),
            Source::Gguf(file) => file.lora(),
            Source::Single(file) => file.lora(),
            Source::Compact(file) => Ok(file.lora()),
            Source::Mlx(directory) => directory.lora(),
        }
    }

    /// The alpha that the file states for all modules; in a single file, which states one for each, that of a module of
    /// the largest rank. In a GGUF adapter, and in phlora's own form, 0
    /// stands for scale 1.
    pub fn alpha(&self) -> f64 {
        match &self.source {
            Source::Peft(directory) => directory.config.alpha,
            // It was read when the adapter was opened.
            Source::Gguf(file) => file.alpha().map_or(0.0, f64::from),
            Source::Single(file) => file.lora().map_or(0.0, |lora| {
                let largest = lora.modules.iter().max_by_key(|module| module.rank());
                largest.map_or(0.0, |module| module.scale * module.rank() as f64)
            }),
            Source::Mlx(directory) => directory.alpha(),
            // It states scales, and only those that are not 1.
            Source::Compact(_) => 0.0,
        }
    }

    /// Whose names its modules have, which is that of its format.
    pub fn naming(&self) -> Naming {
        match &self.source {
            Source::Peft(_) | Source::Mlx(_) => Naming::HuggingFace,
            Source::Gguf(_) => Naming::Gguf,
            Source::Single(_) => Naming::Single,
            Source::Compact(file) => file.naming(),
        }
    }

    /// The mapped bytes of a GGUF adapter, which its factors are ranges of.
    pub(crate) fn mapped_bytes(&self) -> &[u8] {
        match &self.source {
            Source::Gguf(file) => file.bytes(),
            Source::Peft(_) | Source::Single(_) | Source::Compact(_) | Source::Mlx(_) => &[],
        }
    }

    /// Its file format.
    pub fn format(&self) -> AdapterFormat {
        match &self.source {
            Source::Peft(_) => AdapterFormat::Peft,
            Source::Gguf(_) => AdapterFormat::Gguf,
            Source::Single(file) => match file.style() {
                Style::Kohya => AdapterFormat::Kohya,
                Style::Comfy => AdapterFormat::Comfy,
            },
            Source::Compact(_) => AdapterFormat::Phlora,
            Source::Mlx(_) => AdapterFormat::Mlx,
        }
    }
}

/// Whether `path` is an adapter of any format: a PEFT directory, a file in one, or an adapter of one file.
pub(crate) fn is_adapter(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let beside = crate::run::staging::parent(path).join(peft::CONFIG);
    path.is_dir() && path.join(peft::CONFIG).exists()
        || name == peft::CONFIG
        || name.starts_with("adapter_model.") && beside.exists()
        || is_adapter_file(path)
}

/// Whether `path` is a GGUF file that says it is an adapter, or a safetensors file of one, of a single file's
/// form or of phlora's own.
pub(crate) fn is_adapter_file(path: &Path) -> bool {
    if is_compact_file(path) || is_single_file(path) {
        return true;
    }
    let Ok(Some(mapped)) = open_gguf(path) else { return false };
    File::parse(path, mapped.bytes(), mapped.len()).is_ok_and(|file| file.str(key::TYPE) == Some("adapter"))
}

/// Maps `path` if it is a GGUF file.
pub(crate) fn open_gguf(path: &Path) -> Result<Option<Mapped>> {
    if !path.is_file() {
        return Ok(None);
    }
    let mapped = Mapped::open(path)?;
    Ok(is_gguf(mapped.bytes()).then_some(mapped))
}
