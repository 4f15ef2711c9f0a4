//! Models split over several GGUF files, `NAME-00001-of-00003.gguf` and so on.

use super::file::File;
use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// What a file says about the split it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Its number, from 0.
    pub(super) number: u64,
    /// Number of files.
    pub(super) count: u64,
    /// Number of tensors in all files.
    pub(super) tensors: u64,
}

impl Split {
    /// What `file` says; `None` for a whole model.
    pub(super) fn of(path: &Path, file: &File<'_>) -> Result<Option<Self>> {
        let number = |key: &str| match file.get(key) {
            None => Err(Error::format(path, format!("it belongs to a split model but lacks the key {key}"))),
            Some(value) => value.to_u64().ok_or_else(|| {
                Error::format(
                    path,
                    format!("key {key}: it is of type {}, expected a count", value.type_name()),
                )
            }),
        };
        if file.get("split.count").is_none() || number("split.count")? <= 1 {
            return Ok(None);
        }
        let (count, tensors) = (number("split.count")?, number("split.tensors.count")?);
        Ok(Some(Self { number: number("split.no")?, count, tensors }))
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, count, tensors } = self;
        write!(f, "file {} of {count} of a model of {tensors} tensors", number.saturating_add(1))
    }
}

/// The files of the split model that `path` belongs to, in order; they need not be there. `split` is what `path`
/// says about itself.
pub(super) fn paths(path: &Path, split: Split) -> Result<impl Iterator<Item = PathBuf>> {
    let bad = |problem: String| Error::format(path, problem);
    let Some((stem, number, count)) = named(path) else {
        return Err(bad(format!(
            "file {} of {} of a split model, but its name does not end in -{:05}-of-{:05}.gguf, \
             so that the other files cannot be found",
            split.number.saturating_add(1),
            split.count,
            split.number.saturating_add(1),
            split.count
        )));
    };
    if u64::from(count) != split.count {
        return Err(bad(format!("key split.count: it is {}, but by its name {count}", split.count)));
    }
    if u64::from(number) != split.number.saturating_add(1) {
        return Err(bad(format!("key split.no: it is {}, but by its name {}", split.number, number - 1)));
    }
    // At most 99,999: the name has five digits.
    Ok((1..=count).map(move |number| path.with_file_name(format!("{stem}-{number:05}-of-{count:05}.gguf"))))
}

/// Whether a file's name says that it is the second or a later one of a split model.
pub(crate) fn is_later_file(path: &Path) -> bool {
    named(path).is_some_and(|(_, number, _)| number > 1)
}

/// What stands before the numbers in a file's name, its number from 1, and the number of files.
fn named(path: &Path) -> Option<(&str, u32, u32)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (rest, count) = name.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then_some(());
    digits(number).and(digits(count))?;
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    (1..=count).contains(&number).then_some((stem, number, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let split = Split { number: 1, count: 3, tensors: 7 };
        let found: Vec<_> = paths(Path::new("d/m-00002-of-00003.gguf"), split).unwrap().collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], Path::new("d/m-00003-of-00003.gguf"));
        for name in
            ["m.gguf", "m-2-of-3.gguf", "m-00004-of-00003.gguf", "m-00000-of-00003.gguf", "m-00002-of-00003"]
        {
            assert!(
                paths(Path::new(name), split).err().unwrap().to_string().contains("file 2 of 3"),
                "{name}"
            );
        }
        let other = |name| paths(Path::new(name), split).err().unwrap().to_string();
        assert!(other("m-00003-of-00003.gguf").contains("split.no"));
        assert!(other("m-00002-of-00004.gguf").contains("split.count"));
    }
}
