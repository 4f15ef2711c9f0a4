//! Writes adapters, each appearing whole or not at all.

use super::gguf::{gguf_len, write_gguf};
use super::{AdapterFormat, Lora, compact, is_adapter_file, mlx, peft, single};
use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use crate::run::staging::{Known, Replaces, StagedDir, StagedFile, write_synced};
use std::path::Path;

/// An adapter of one file, on disk.
const ADAPTER: Known = Known { name: "an adapter", is: is_adapter_file };

/// An adapter that is written, but not in its place yet.
#[derive(Debug)]
pub(crate) enum StagedAdapter {
    Directory(StagedDir),
    File(StagedFile),
}

impl AdapterFormat {
    /// Bytes of the files of `lora`.
    pub(crate) fn length(self, lora: &Lora<'_>) -> Result<u64> {
        match self {
            Self::Peft => peft::length(lora),
            Self::Gguf => gguf_len(lora),
            Self::Kohya | Self::Comfy => single::length(lora),
            Self::Mlx => mlx::length(lora),
            Self::Phlora => compact::length(lora),
        }
    }

    /// Refuses a name that no reader takes for one of a safetensors file.
    fn check_name(self, path: &Path) -> Result<()> {
        let safetensors = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("safetensors"));
        if !matches!(self, Self::Kohya | Self::Comfy) || safetensors {
            return Ok(());
        }
        let (path, name) = (path.display(), self.name());
        Err(Error::usage(format!("{path}: {name} is one safetensors file; name it {path}.safetensors")))
    }

    /// Tries whether an adapter can be created at `path`; leaves nothing behind.
    pub(crate) fn probe(self, path: &Path, force: bool) -> Result<()> {
        self.check_name(path)?;
        match self {
            Self::Peft | Self::Mlx => StagedDir::create(path, Replaces::Adapter, force).map(drop),
            Self::Gguf | Self::Kohya | Self::Comfy | Self::Phlora => {
                StagedFile::write(path, ADAPTER, force, |_| Ok(())).map(drop)
            }
        }
    }

    /// Writes `lora` beside `path` and gives the bytes written.
    pub(crate) fn stage(self, lora: &Lora<'_>, path: &Path, force: bool) -> Result<(StagedAdapter, u64)> {
        self.check_name(path)?;
        lora.factors_alone()?;
        if lora.modules.is_empty() && lora.full.is_empty() {
            // Experts whose factors are all zero have no place in a checkpoint, and all of it may be such.
            return Err(Error::usage(
                "no factors are left of the adapter: those of its experts are zero".into(),
            ));
        }
        if !self.is_file() {
            let staged = StagedDir::create(path, Replaces::Adapter, force)?;
            let bytes = match self {
                Self::Mlx => mlx::write(lora, staged.path(), path)?,
                _ => peft::write(lora, staged.path(), path)?,
            };
            return Ok((StagedAdapter::Directory(staged), bytes));
        }
        let mut bytes = 0;
        let staged = StagedFile::write(path, ADAPTER, force, |file| {
            bytes = match self {
                Self::Gguf => write_gguf(lora, file)?,
                Self::Phlora => compact::write(lora, file)?,
                _ => single::write(lora, file)?,
            };
            Ok(())
        })?;
        Ok((StagedAdapter::File(staged), bytes))
    }
}

impl Lora<'_> {
    /// Writes it to `path`, where it appears by a rename when all is complete, and gives the bytes written. An adapter
    /// that is there already is replaced where `force` says so; anything else never is.
    ///
    /// # Errors
    /// When nothing is in it, the output exists and may not be replaced, modules do not have the names of the format or a factor does
    /// not fit into it, the disk is full, or [`Error::Cancelled`]; nothing is left behind.
    pub fn save(&self, path: &Path, format: AdapterFormat, force: bool, monitor: &Monitor) -> Result<u64> {
        monitor.begin_writing()?;
        let (staged, bytes) = format.stage(self, path, force)?;
        monitor.check()?;
        staged.commit()?;
        Ok(bytes)
    }
}

/// The model card of an adapter's directory.
const CARD: &str = "README.md";

impl StagedAdapter {
    /// Adds a model card to a directory, unless one is there.
    pub(crate) fn add_card(&self, path: &Path, text: impl FnOnce() -> String) -> Result<()> {
        let Self::Directory(staged) = self else { return Ok(()) };
        let card = staged.path().join(CARD);
        if std::fs::symlink_metadata(&card).is_ok() {
            return Ok(());
        }
        write_synced(&card, text().as_bytes()).map_err(|e| Error::io(&path.join(CARD), "write", e))
    }

    /// Puts it into its place.
    pub(crate) fn commit(self) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.commit(),
            Self::File(file) => file.commit(),
        }
    }
}
