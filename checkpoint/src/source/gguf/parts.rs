//! The files of a GGUF model: the one that was named, and the other parts where it is split.

use super::file::File;
use super::split::{Split, paths};
use crate::error::{Error, Result, collected};
use crate::source::attention::Heads;
use crate::source::mapped::Mapped;
use crate::source::stored::Stored;

/// One file and what it says.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) mapped: Mapped,
    pub(crate) version: u32,
    pub(crate) architecture: Option<String>,
    pub(crate) heads: Option<Heads>,
    /// In the order of the file's table.
    pub(crate) tensors: Vec<Stored>,
    split: Option<Split>,
}

impl Part {
    fn read(mapped: Mapped) -> Result<Self> {
        let file = File::parse(mapped.path(), mapped.bytes())?;
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

/// Reads all files of the model that `named` is the file or a part of. The first has the model's keys.
pub(crate) fn read_parts(named: Mapped) -> Result<Vec<Part>> {
    let named = Part::read(named)?;
    let Some(split) = named.split else { return Ok(vec![named]) };
    let path = named.mapped.path().to_owned();
    let mut named = Some(named);
    let (mut parts, mut tensors) = (Vec::new(), 0_u64);
    for (number, file) in paths(&path, split)?.enumerate() {
        let this = named.take_if(|_| number as u64 == split.number);
        let part = match this {
            Some(part) => part,
            None if file.exists() => Part::read(Mapped::open(&file)?)?,
            None => {
                let problem = format!(
                    "part {} of {}, {}, is missing; download it as well",
                    number + 1,
                    split.count,
                    file.display()
                );
                return Err(Error::format(&path, problem));
            }
        };
        let expected = Split { number: number as u64, ..split };
        if part.split != Some(expected) {
            let problem = match part.split {
                None => format!("it is not part of a split model, expected {expected}"),
                Some(found) => format!("it is {found}, expected {expected}"),
            };
            return Err(Error::format(&file, problem));
        }
        tensors += part.tensors.len() as u64;
        parts.push(part);
    }
    if tensors != split.tensors {
        let problem =
            format!("key split.tensors.count: it is {}, but the parts hold {tensors}", split.tensors);
        return Err(Error::format(&path, problem));
    }
    Ok(parts)
}
