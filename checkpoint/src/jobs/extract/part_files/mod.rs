//! The part files of an extraction: what became of each pair, kept in files as it is found, so that the work can be interrupted,
//! or done in shards by several workers.
//!
//! Nothing in an extraction depends on the order in which pairs are worked on. So what became of a pair may come out of
//! a file instead, and the adapter is the same to the bit.

mod journal;
mod shard;

pub use shard::Shard;

use crate::error::{Error, Result};
use crate::source::mapped::Mapped;
use journal::{Journal, Place};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Names of pairs that a message shows.
const NAMED: usize = 3;

/// Digests of the inputs of an extraction, and of the options that its factors depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) phlora: String,
    pub(crate) models: Vec<String>,
    pub(crate) options: String,
}

impl Identity {
    /// What of `other` is not the same.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        match (self.phlora == other.phlora, self.models == other.models, self.options == other.options) {
            (false, ..) => Some("another version of phlora"),
            (_, false, _) => Some("other models, or of these before they changed,"),
            (.., false) => Some("other options"),
            _ => None,
        }
    }
}

/// What the first record of a part file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartHeader {
    identity: Identity,
    /// The shard that it is, as in `3/8`, where it is one.
    pub shard: Option<String>,
    /// How the extraction was asked for, for who joins the part files.
    pub command: Vec<String>,
    /// The working directory of that.
    pub directory: PathBuf,
}

/// Which pairs are worked on here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// All that no part file holds.
    Rest,
    /// Those of a shard that no part file holds.
    Shard(Shard),
    /// None: all must be in the part files.
    None,
}

/// The part files of an extraction.
#[derive(Debug)]
pub(crate) struct Journals {
    work: Work,
    own: Option<Journal>,
    files: Vec<Mapped>,
    /// Number of the file and place of the record, by key.
    known: HashMap<String, (usize, Place)>,
}

/// The pairs of one round of an extraction, by what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// To be worked on here.
    pub(crate) open: Vec<bool>,
    /// What is missing then.
    missing: Vec<String>,
}

impl PartHeader {
    /// What the part file at `path` says of itself.
    ///
    /// # Errors
    /// When the file is no part file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = Mapped::open(path)?;
        let (places, _) = journal::read(file.bytes());
        header(path, &file, places.first())
    }
}

fn header(path: &Path, file: &Mapped, place: Option<&Place>) -> Result<PartHeader> {
    let text = place.and_then(|place| file.bytes().get(place.json.clone()));
    let header = text.and_then(|text| serde_json::from_slice(text).ok());
    header.ok_or_else(|| {
        Error::format(path, "not a part file of an extraction, as extract writes with a shard")
    })
}

impl Journals {
    /// Opens the part file `own`, if there is one, to which is added what is worked on, and `others` that are only read, all
    /// of the extraction `identity`. `command` is kept in a new part file. With `fresh` what `own` holds already is thrown
    /// away.
    ///
    /// # Errors
    /// When a file is no part file, or one of another extraction: of other models, options or another version; when another
    /// process is writing to `own`.
    pub(crate) fn open(
        own: Option<&Path>,
        others: &[PathBuf],
        work: Work,
        identity: Identity,
        command: Vec<String>,
        fresh: bool,
    ) -> Result<Self> {
        let mut journals = Self { work, own: None, files: Vec::new(), known: HashMap::new() };
        for path in others {
            let file = Mapped::open(path)?;
            let (places, _) = journal::read(file.bytes());
            journals.add(path, file, places, &identity)?;
        }
        let Some(path) = own else { return Ok(journals) };
        let (journal, file, places) = Journal::open(path, fresh)?;
        if places.is_empty() {
            let shard = if let Work::Shard(shard) = work { Some(shard.to_string()) } else { None };
            let directory = std::env::current_dir().unwrap_or_default();
            let header = PartHeader { identity, shard, command, directory };
            let text = serde_json::to_vec(&header);
            let text = text.map_err(|e| Error::format(path, format!("its header cannot be written: {e}")))?;
            journal.append(&text, &[])?;
        } else {
            journals.add(path, file, places, &identity)?;
        }
        journals.own = Some(journal);
        Ok(journals)
    }

    /// Takes in a part file that exists.
    fn add(&mut self, path: &Path, file: Mapped, places: Vec<Place>, identity: &Identity) -> Result<()> {
        let found = header(path, &file, places.first())?;
        if let Some(what) = found.identity.difference(identity) {
            return Err(Error::format(
                path,
                format!("a part file of {what} than this extraction: make it anew"),
            ));
        }
        let number = self.files.len();
        for place in places.into_iter().skip(1) {
            if let Some(key) = file.bytes().get(place.json.clone()).and_then(key) {
                self.known.insert(key, (number, place));
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// Which of the pairs with these keys and sizes are open here.
    pub(crate) fn round(&self, keys: &[String], sizes: &[u64]) -> Round {
        let own = match self.work {
            Work::Rest => vec![true; keys.len()],
            Work::Shard(shard) => shard.of(sizes),
            Work::None => vec![false; keys.len()],
        };
        let mut round = Round::default();
        for (key, own) in keys.iter().zip(own) {
            let known = self.known.contains_key(key);
            round.open.push(own && !known);
            if !own && !known {
                round.missing.push(key.split('|').next().unwrap_or_default().to_owned());
            }
        }
        round
    }

    /// The text and the bytes that a part file holds under `key`.
    pub(crate) fn find(&self, key: &str) -> Option<(&[u8], &[u8])> {
        let (number, place) = self.known.get(key)?;
        let file = self.files.get(*number)?.bytes();
        file.get(place.json.clone()).zip(file.get(place.bytes.clone()))
    }

    /// Keeps a record: its text, which has a field `key`, and its bytes.
    pub(crate) fn keep(&self, text: &[u8], bytes: &[Vec<u8>]) -> Result<()> {
        let Some(journal) = &self.own else { return Ok(()) };
        journal.append(text, &bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Ends a round in which all open pairs are kept.
    pub(crate) fn end(&self, round: &Round) -> Result<()> {
        if let Some(journal) = &self.own {
            journal.sync()?;
        }
        let named: Vec<_> = round.missing.iter().take(NAMED).cloned().collect();
        match round.missing.len() {
            0 => Ok(()),
            missing => Err(Error::Unfinished { missing, named }),
        }
    }
}

/// The key of a record, by its text.
fn key(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Key {
        key: String,
    }
    serde_json::from_slice::<Key>(text).ok().map(|entry| entry.key)
}
