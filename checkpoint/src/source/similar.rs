//! Suggests the nearest known name for a word that names nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// The one of `known` that is closest to `word`, if it is close: a third of its characters may differ.
pub(crate) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let most = (word.chars().count() / 3).max(1);
    let found = known.into_iter().map(|name| (distance(word, name), name)).min()?;
    (found.0 <= most).then_some(found.1)
}

/// The path that was probably meant by `path`, which is not there: another name where the first one is missing.
pub(crate) fn path(path: &Path) -> Option<PathBuf> {
    let mut names = path.components();
    let mut before = PathBuf::new();
    let missing = loop {
        let name = names.next()?;
        if !before.join(name).exists() {
            break name.as_os_str().to_str()?;
        }
        before.push(name);
    };
    let directory = if before.as_os_str().is_empty() { Path::new(".") } else { &before };
    let there = fs::read_dir(directory).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let there: Vec<_> = there.collect();
    let found = before.join(closest(missing, there.iter().map(String::as_str))?);
    let rest = names.as_path();
    let whole = found.join(rest);
    Some(if rest.as_os_str().is_empty() || !whole.exists() { found } else { whole })
}

/// Insertions, deletions, replacements and exchanges of neighbours that lead from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let mut rows = [Vec::new(), (0..=other.len()).collect::<Vec<_>>(), vec![0; other.len() + 1]];
    for i in 1..=one.len() {
        let [before, last, next] = &mut rows;
        next[0] = i;
        for j in 1..=other.len() {
            let replaced = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            next[j] = replaced.min(last[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        *before = std::mem::replace(last, next.clone());
    }
    rows[1][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_close() {
        assert_eq!(distance("q_porj", "q_proj"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(closest("tunde", ["base", "tuned"]), Some("tuned"));
        assert_eq!(closest("conjure", ["base", "tuned"]), None);
        assert_eq!(closest("x", []), None);
    }
}
