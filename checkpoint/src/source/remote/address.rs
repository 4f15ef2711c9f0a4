//! Addresses of files: of the hub, of a web server, of a store of objects.

use std::path::Path;

/// The revision of a model of the hub where none is named.
const MAIN: &str = "main";

/// A file by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Web { url: String },
    Hub { id: String, revision: String, file: String },
    S3 { bucket: String, key: String },
    Gcs { bucket: String, key: String },
    Azure { container: String, key: String },
}

impl Address {
    /// Reads an address.
    pub(super) fn parse(path: &Path) -> Result<Self, String> {
        let text = path.to_str().ok_or("an address is UTF-8")?;
        let (scheme, rest) =
            text.split_once("://").ok_or("an address begins with its scheme, as in s3://")?;
        let within = |what: &str| {
            let (first, key) = rest.split_once('/').unwrap_or((rest, ""));
            if first.is_empty() || key.is_empty() {
                return Err(format!("expected {scheme}://{what}/PATH"));
            }
            Ok((first.to_owned(), key.to_owned()))
        };
        Ok(match scheme {
            "hf" => hub(rest)?,
            "s3" => within("BUCKET").map(|(bucket, key)| Self::S3 { bucket, key })?,
            "gs" => within("BUCKET").map(|(bucket, key)| Self::Gcs { bucket, key })?,
            "az" => within("CONTAINER").map(|(container, key)| Self::Azure { container, key })?,
            _ => Self::Web { url: text.to_owned() },
        })
    }
}

/// `ORG/MODEL[@REVISION]/FILE`; a revision may be a reference with slashes, as `refs/pr/1`.
fn hub(rest: &str) -> Result<Address, String> {
    let expected = "expected hf://ORG/MODEL, hf://ORG/MODEL@REVISION or a file below it";
    let (org, rest) = rest.split_once('/').ok_or(expected)?;
    let (model, file) = rest.split_once('/').unwrap_or((rest, ""));
    let (model, revision) = model.split_once('@').unwrap_or((model, MAIN));
    let (mut revision, mut file) = (revision.replace("%2F", "/"), file);
    if revision == "refs" {
        let mut names = file.splitn(3, '/');
        let (Some(kind), Some(number)) = (names.next(), names.next()) else { return Err(expected.into()) };
        revision = format!("refs/{kind}/{number}");
        file = names.next().unwrap_or("");
    }
    if org.is_empty() || model.is_empty() || revision.is_empty() || org.contains('@') {
        return Err(expected.into());
    }
    Ok(Address::Hub { id: format!("{org}/{model}"), revision, file: file.to_owned() })
}

/// `text` within a URL; of the characters in `kept` none is encoded.
pub(super) fn encoded(text: &str, kept: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `scheme://host[:port]` of a URL, in lower case: what may see the same credentials.
pub(super) fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
    let standard = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    Some(format!("{scheme}://{}", host.strip_suffix(standard).unwrap_or(&host)))
}

/// What `location`, which an answer of `url` names, means.
pub(super) fn joined(url: &str, location: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(match location {
        _ if location.starts_with("http://") || location.starts_with("https://") => location.to_owned(),
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{host}{location}"),
        _ => {
            let path = url.split(['?', '#']).next()?;
            format!("{}/{location}", path.rsplit_once('/')?.0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        Address::parse(Path::new(text))
    }

    #[test]
    fn addresses_of_the_hub() {
        for (text, id, revision, file) in [
            ("hf://org/model/a/b.gguf", "org/model", "main", "a/b.gguf"),
            ("hf://org/model@v1.0/config.json", "org/model", "v1.0", "config.json"),
            ("hf://org/model@refs/pr/1/config.json", "org/model", "refs/pr/1", "config.json"),
            ("hf://org/model@refs%2Fpr%2F1", "org/model", "refs/pr/1", ""),
        ] {
            let expected = Address::Hub { id: id.into(), revision: revision.into(), file: file.into() };
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["hf://model", "hf:///x", "hf://org/", "hf://org/model@", "hf://org/model@refs/pr"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_stores() {
        assert_eq!(read("s3://b/a/c d"), Ok(Address::S3 { bucket: "b".into(), key: "a/c d".into() }));
        assert!(read("gs://b").unwrap_err().contains("gs://BUCKET/PATH"));
        assert_eq!(encoded("a/c d+é", "/"), "a/c%20d%2B%C3%A9");
    }

    #[test]
    fn credentials_stay_at_their_origin() {
        assert_eq!(origin("https://Host:443/a").unwrap(), origin("https://host/b?c").unwrap());
        for other in ["http://host/a", "https://host:8443/a", "https://host.evil/a", "https://evil/host"] {
            assert_ne!(origin("https://host/a"), origin(other), "{other}");
        }
        assert_eq!(origin("https://host@evil/"), origin("https://evil/"));
        for (location, expected) in [
            ("/x?y", "https://h:1/x?y"),
            ("x", "https://h:1/a/x"),
            ("//o/x", "https://o/x"),
            ("http://o/", "http://o/"),
        ] {
            assert_eq!(joined("https://h:1/a/b?c/d", location).unwrap(), expected);
        }
    }
}
