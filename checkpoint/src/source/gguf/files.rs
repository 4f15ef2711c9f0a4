//! The files of a GGUF model: the one that was named, and the others where it is split.

use super::file::File;
use super::split::{Split, paths};
use crate::error::{Error, Result, collected};
use crate::source::attention::Heads;
use crate::source::mapped::Mapped;
use crate::source::place::is_address;
use crate::source::stored::Stored;

/// One file and what it says.
#[derive(Debug)]
pub(crate) struct OneFile {
    pub(crate) mapped: Mapped,
    pub(crate) version: u32,
    pub(crate) architecture: Option<String>,
    pub(crate) heads: Option<Heads>,
    /// In the order of the file's table.
    pub(crate) tensors: Vec<Stored>,
    split: Option<Split>,
}

impl OneFile {
    fn read(mapped: Mapped) -> Result<Self> {
        let file = File::parse(mapped.path(), mapped.bytes(), mapped.len())?;
        let split = Split::of(mapped.path(), &file)?;
        let architecture = file.architecture().map(str::to_owned);
        let (version, heads) = (file.version, file.heads());
        let tensors = file.tensors.into_iter().map(|tensor| Stored {
            name: tensor.name.to_owned(),
            dtype_name: tensor.type_name().into_owned(),
            dtype: tensor.dtype(),
            shape: tensor.shape,
            range: tensor.range,
        });
        let tensors = collected(tensors.len(), tensors)?;
        Ok(Self { mapped, version, architecture, heads, tensors, split })
    }
}

/// Reads all files of the model that `named` is the file or one of the files of. The first has the model's keys.
pub(crate) fn read_files(named: Mapped) -> Result<Vec<OneFile>> {
    let named = OneFile::read(named)?;
    let Some(split) = named.split else { return Ok(vec![named]) };
    let path = named.mapped.path().to_owned();
    let mut named = Some(named);
    let (mut files, mut tensors) = (Vec::new(), 0_u64);
    for (number, file) in paths(&path, split)?.enumerate() {
        let this = named.take_if(|_| number as u64 == split.number);
        let found = match this {
            Some(found) => found,
            None if is_address(&file) || file.exists() => OneFile::read(Mapped::open(&file)?)?,
            None => {
                let problem = format!(
                    "file {} of {}, {}, is missing; download it as well",
                    number + 1,
                    split.count,
                    file.display()
                );
                return Err(Error::format(&path, problem));
            }
        };
        let expected = Split { number: number as u64, ..split };
        if found.split != Some(expected) {
            let problem = match found.split {
                None => format!("it does not belong to a split model, expected {expected}"),
                Some(other) => format!("it is {other}, expected {expected}"),
            };
            return Err(Error::format(&file, problem));
        }
        tensors += found.tensors.len() as u64;
        files.push(found);
    }
    if tensors != split.tensors {
        let problem =
            format!("key split.tensors.count: it is {}, but the files hold {tensors}", split.tensors);
        return Err(Error::format(&path, problem));
    }
    Ok(files)
}
