//! How PEFT wants the names of some modules spelled in a file.
//!
//! PEFT renames what it finds in an adapter's file as transformers renames a checkpoint. A few of these rules match the
//! names that come out of them once more; the file then needs other names, which become those of memory while PEFT
//! loads it. The configuration keeps the names of memory. The file's metadata say which name is whose.

use crate::error::{Error, Result};
use crate::naming::memory::{fill, prefix_numbers};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// The key in the metadata of a safetensors file.
pub(crate) const KEY: &str = "phlora.paths";

/// Rules for the beginnings of names, from those of memory to those of the file.
#[derive(Debug, Clone, Default)]
pub struct Spelling(Vec<(Cow<'static, str>, Cow<'static, str>)>);

impl Spelling {
    pub(crate) fn new(rules: &[(&'static str, &'static str)]) -> Self {
        Self(rules.iter().map(|&(from, to)| (from.into(), to.into())).collect())
    }

    /// That of a file whose names stand for these in memory.
    pub(crate) fn of_paths(paths: &BTreeMap<String, String>) -> Self {
        Self(paths.iter().map(|(file, memory)| (memory.clone().into(), file.clone().into())).collect())
    }

    /// The name in the file of the module at `path` in memory.
    pub(crate) fn in_file<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let apply = |(from, to): &(Cow<'_, str>, Cow<'_, str>)| {
            let (numbers, rest) = prefix_numbers(from, path)?;
            Some((path.len() - rest.len(), fill(to, &numbers)? + rest))
        };
        let best = self.0.iter().filter_map(apply).max_by_key(|(length, _)| *length);
        best.map_or(Cow::Borrowed(path), |(_, path)| Cow::Owned(path))
    }
}

/// Names of a file and those in memory that they stand for, as the metadata hold them.
pub(crate) fn to_text(paths: &BTreeMap<String, String>) -> String {
    serde_json::to_string(paths).unwrap_or_default()
}

/// The same of the file at `path`, from its metadata.
pub(crate) fn from_metadata(
    path: &Path,
    metadata: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let Some(text) = metadata.get(KEY) else { return Ok(BTreeMap::new()) };
    serde_json::from_str(text)
        .map_err(|e| Error::format(path, format!("its metadata {KEY} are no names: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_decides() {
        let spelling = Spelling::new(&[("a", "x"), ("a.*.b", "y.*")]);
        for (memory, file) in [("a.3.b.c", "y.3.c"), ("a.3.c", "x.3.c"), ("ab.3", "ab.3"), ("a", "x")] {
            assert_eq!(spelling.in_file(memory), file);
        }
        assert_eq!(Spelling::default().in_file("a.3"), "a.3");
    }

    #[test]
    fn metadata_keep_the_names() {
        let paths = BTreeMap::from([("x.3".to_owned(), "a.3".to_owned())]);
        let path = Path::new("file");
        let metadata = |text: String| BTreeMap::from([(KEY.to_owned(), text)]);
        assert_eq!(from_metadata(path, &metadata(to_text(&paths))).unwrap(), paths);
        assert!(from_metadata(path, &BTreeMap::new()).unwrap().is_empty());
        assert!(from_metadata(path, &metadata("[1]".to_owned())).is_err());
    }
}
