//! What is to be known of an extraction.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A remark on the pair, the options or the adapter; in JSON its text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// What is to be known.
    Text(String),
    /// The same of a pattern of [`Filter::include`](crate::Filter::include).
    Include {
        /// The pattern.
        pattern: String,
        /// What comes of it, as in "PATTERN matches …".
        said: String,
    },
    /// Rows of a vocabulary that are stored and take more room than factors would.
    Rows {
        /// Full name of the tensor.
        name: String,
        /// Number of rows, without those that the base lacks.
        rows: usize,
        /// Their bytes.
        bytes: u64,
        /// The largest rank of the adapter's modules.
        rank: usize,
        /// Bytes of factors of that rank.
        factors: u64,
    },
    /// The same of a pattern of [`Filter::exclude`](crate::Filter::exclude).
    Exclude {
        /// The pattern.
        pattern: String,
        /// What comes of it, as in "PATTERN matches …".
        said: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Include { pattern, said } => write!(f, "include pattern {pattern} {said}"),
            Self::Rows { name, rows, bytes, rank, factors } => {
                write!(
                    f,
                    "{name}: {rows} rows take {bytes} bytes, factors of rank {rank} would take {factors}"
                )
            }
            Self::Exclude { pattern, said } => write!(f, "exclude pattern {pattern} {said}"),
        }
    }
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_json_a_note_is_its_text() {
        let note = Note::Include { pattern: "q_porj".into(), said: "matches no module".into() };
        let json = serde_json::to_string(&note).unwrap();
        assert_eq!(json, r#""include pattern q_porj matches no module""#);
        let read: Note = serde_json::from_str(&json).unwrap();
        assert_eq!(read, Note::Text(note.to_string()));
    }
}
