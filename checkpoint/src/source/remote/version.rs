//! What an answer says about the file: which bytes of it follow, how many there are, and which version it is.

use super::client::{Answer, Trouble};
use std::ops::Range;

/// What tells one version of a file from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Version {
    tag: Option<String>,
    modified: Option<String>,
    /// The tag that the hub gives to what it redirects to.
    linked: Option<String>,
}

impl Version {
    pub(super) fn of(answer: &Answer) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            tag: owned(answer.header("etag")),
            modified: owned(answer.header("last-modified")),
            linked: owned(answer.any_header("x-linked-etag")),
        }
    }

    /// What of `other` is known to be different.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let differ = |what: &str, one: &Option<String>, other: &Option<String>| {
            let plain = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
            let (one, other) = (plain(one.as_deref()?), plain(other.as_deref()?));
            (one != other).then(|| format!("{what} {other}, not {one}"))
        };
        differ("ETag", &self.linked, &other.linked)
            .or_else(|| differ("ETag", &self.tag, &other.tag))
            // A tag says more than a date.
            .or_else(|| {
                let tagged = self.tag.is_some() && other.tag.is_some();
                if tagged { None } else { differ("Last-Modified", &self.modified, &other.modified) }
            })
    }

    /// The tag by which a server can be asked for this very version.
    pub(super) fn strong(&self) -> Option<&str> {
        self.tag.as_deref().filter(|tag| !tag.starts_with("W/") && self.linked.is_none())
    }

    /// A text that is another for each version that is known to be another.
    pub(super) fn text(&self) -> String {
        let text = |tag: &Option<String>| tag.clone().unwrap_or_default();
        match (&self.linked, &self.tag) {
            (Some(linked), _) => linked.clone(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => text(&self.modified),
        }
    }
}

/// Which bytes an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) range: Range<u64>,
    /// Bytes of the whole file.
    pub(super) length: u64,
}

impl Place {
    /// What the answer to a request for a range holds. `whole`: the whole file is an answer as well.
    pub(super) fn of(answer: &Answer, whole: bool) -> Result<Self, Trouble> {
        let length = answer.body.content_length();
        match answer.status {
            206 => {
                let stated = answer.header("content-range").unwrap_or_default();
                let place = Self::parse(stated).ok_or_else(|| {
                    Trouble::Final(format!("the server answers with no sound Content-Range ({stated:?})"))
                })?;
                let bytes = place.range.end - place.range.start;
                if length.is_some_and(|length| length != bytes) {
                    let length = length.unwrap_or_default();
                    return Err(Trouble::Final(format!(
                        "the server contradicts itself: a Content-Range of {bytes} bytes, but {length} of content"
                    )));
                }
                Ok(place)
            }
            200 if whole => {
                let length = length.ok_or_else(|| {
                    Trouble::Final("the server does not say how long the file is: download it".into())
                })?;
                Ok(Self { range: 0..length, length })
            }
            200 => Err(Trouble::Final(
                "the server does not answer requests for ranges of files: download the file".into(),
            )),
            status => {
                let location = answer.header("x-amz-bucket-region");
                let region = location.map(|region| format!(" (the bucket is in {region})"));
                Err(Trouble::Refused { status, said: format!("HTTP {status}{}", region.unwrap_or_default()) })
            }
        }
    }

    /// Reads `bytes 0-9/100`.
    fn parse(text: &str) -> Option<Self> {
        let (range, length) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, length): (u64, u64, u64) =
            (first.trim().parse().ok()?, last.trim().parse().ok()?, length.trim().parse().ok()?);
        (first <= last && last < length).then(|| Self { range: first..last + 1, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_checked() {
        assert_eq!(Place::parse("bytes 5-9/100"), Some(Place { range: 5..10, length: 100 }));
        for text in ["", "bytes */100", "bytes 9-5/100", "bytes 0-100/100", "bytes 0-9/*"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn versions_differ_by_what_both_state() {
        let version = |tag: Option<&str>, date: Option<&str>| Version {
            tag: tag.map(str::to_owned),
            modified: date.map(str::to_owned),
            linked: None,
        };
        let one = version(Some("\"a\""), Some("Monday"));
        assert!(one.difference(&version(Some("\"b\""), None)).unwrap().contains("\"b\", not \"a\""));
        assert_eq!(one.difference(&version(Some("W/\"a\""), Some("Tuesday"))), None);
        assert!(one.difference(&version(None, Some("Tuesday"))).is_some());
        assert_eq!(one.difference(&Version::default()), None);
        assert_eq!((one.strong(), version(Some("W/\"a\""), None).strong()), (Some("\"a\""), None));
    }
}
