//! A file of records that only grows: each is whole or, where a writer was killed or a disk full, ignored.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `phlorarc` |
//! | 8 | length of the JSON text, little-endian |
//! | 8 | length of the bytes that follow it, little-endian |
//! | 8 | XXH3 of both, little-endian |
//! | … | the JSON text, then the bytes |

use crate::error::{Error, Result};
use crate::run::pool::lock;
use crate::source::mapped::Mapped;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use xxhash_rust::xxh3::Xxh3Default;

const MARK: &[u8; 8] = b"phlorarc";
const HEAD: usize = 32;

/// Where a record is in its file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) json: Range<usize>,
    pub(super) bytes: Range<usize>,
}

/// The sound records at the beginning of a file, and where they end.
pub(super) fn read(file: &[u8]) -> (Vec<Place>, usize) {
    let (mut places, mut at) = (Vec::new(), 0);
    while let Some(place) = record(file, at) {
        at = place.bytes.end;
        places.push(place);
    }
    (places, at)
}

/// The record that begins at `at`.
fn record(file: &[u8], at: usize) -> Option<Place> {
    let head = file.get(at..at.checked_add(HEAD)?)?;
    let number = |from: usize| head[from..from + 8].try_into().map(u64::from_le_bytes).ok();
    let (json, bytes) = (usize::try_from(number(8)?).ok()?, usize::try_from(number(16)?).ok()?);
    let json = at + HEAD..(at + HEAD).checked_add(json)?;
    let bytes = json.end..json.end.checked_add(bytes)?;
    let body = [file.get(json.clone())?, file.get(bytes.clone())?];
    (head.starts_with(MARK) && number(24)? == digest(body)).then_some(Place { json, bytes })
}

fn digest<'b>(texts: impl IntoIterator<Item = &'b [u8]>) -> u64 {
    let mut digest = Xxh3Default::new();
    texts.into_iter().for_each(|text| digest.update(text));
    digest.digest()
}

/// A journal that this process alone writes.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one, and gives what is in it. With `fresh`, or where its first
    /// record is cut off, it is emptied. A file of another kind stays as it is.
    pub(super) fn open(path: &Path, fresh: bool) -> Result<(Self, Mapped, Vec<Place>)> {
        let failed = |action| move |e: io::Error| Error::io(path, action, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("create"))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::format(
                    path,
                    "another process is writing this part file: wait for it, or end it",
                ));
            }
            // Held now, or on a file system without locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let known = Mapped::open(path)?;
        if !known.bytes().is_empty() && !known.bytes().starts_with(MARK) {
            let problem = "not a part file of an extraction; it is not replaced, choose another place";
            return Err(Error::format(path, problem));
        }
        let (places, end) = if fresh { (Vec::new(), 0) } else { read(known.bytes()) };
        // What is cut off must not stay mapped.
        drop(known);
        file.set_len(end as u64).map_err(failed("write"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("write"))?;
        let known = Mapped::open(path)?;
        Ok((Self { path: path.to_owned(), file: Mutex::new(file) }, known, places))
    }

    /// Adds a record at the end.
    pub(super) fn append(&self, json: &[u8], values: &[&[u8]]) -> Result<()> {
        let length: usize = values.iter().map(|bytes| bytes.len()).sum();
        let digest = digest([json].into_iter().chain(values.iter().copied()));
        let mut record = Vec::with_capacity(HEAD + json.len() + length);
        record.extend_from_slice(MARK);
        for number in [json.len() as u64, length as u64, digest] {
            record.extend_from_slice(&number.to_le_bytes());
        }
        record.extend_from_slice(json);
        for bytes in values {
            record.extend_from_slice(bytes);
        }
        lock(&self.file).write_all(&record).map_err(|e| Error::io(&self.path, "write", e))
    }

    /// Waits until all of it is on disk.
    pub(super) fn sync(&self) -> Result<()> {
        lock(&self.file).sync_all().map_err(|e| Error::io(&self.path, "write", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_changed_is_ignored_and_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("part");
        let append = |text: &str, bytes: &[u8]| {
            let (journal, _, places) = Journal::open(&path, false).unwrap();
            journal.append(text.as_bytes(), &[bytes]).unwrap();
            places.len()
        };
        assert_eq!(append("one", b"1"), 0);
        assert_eq!(append("two", b"22"), 1);
        let whole = std::fs::read(&path).unwrap();
        let first = read(&whole).0[0].bytes.end;
        for end in first..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(read(&std::fs::read(&path).unwrap()).0.len(), 1, "cut at {end}");
        }
        for at in first..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed).0.len(), 1, "changed at {at}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(append("again", b"4444"), 1);
        let file = std::fs::read(&path).unwrap();
        let texts: Vec<_> = read(&file).0.iter().map(|place| file[place.json.clone()].to_vec()).collect();
        assert_eq!(texts, [b"one".to_vec(), b"again".to_vec()]);
    }

    #[test]
    fn other_files_stay_and_two_writers_do_not_meet() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("part");
        std::fs::write(&path, "something else").unwrap();
        for fresh in [false, true] {
            assert!(Journal::open(&path, fresh).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), b"something else");
        }
        let path = directory.path().join("other");
        let first = Journal::open(&path, false).unwrap();
        assert!(Journal::open(&path, false).is_err());
        drop(first);
        assert!(Journal::open(&path, false).is_ok());
    }
}
