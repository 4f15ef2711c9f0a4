//! Where a model is: a path, or the address of a store.

use crate::error::{Error, Result};
use std::path::Path;

/// Schemes of the addresses that models are read from.
const SCHEMES: [&str; 6] = ["hf://", "https://", "http://", "s3://", "gs://", "az://"];

/// Whether `path` is an address of a model (`hf://ORG/MODEL`, `https://…`, `s3://…`, `gs://…`, `az://…`) rather than a path. Names
/// of files can be appended to one as to a directory.
pub fn is_address(path: &Path) -> bool {
    path.to_str().is_some_and(|text| SCHEMES.iter().any(|scheme| text.starts_with(scheme)))
}

/// Refuses an address that cannot be one of a model.
pub(crate) fn check_address(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let least = if scheme == "hf" { 2 } else { 1 };
    if rest.split('/').take(least).filter(|name| !name.is_empty()).count() < least {
        let expected = match scheme {
            "hf" => "hf://ORG/MODEL, hf://ORG/MODEL@REVISION or a file below it",
            "s3" | "gs" | "az" => "the name of a bucket or container after ://",
            _ => "a host after ://",
        };
        return Err(Error::format(path, format!("expected {expected}")));
    }
    Ok(())
}

/// The id of a model of the hub, by its address.
pub(crate) fn hub_id(path: &Path) -> Option<String> {
    let mut names = path.to_str()?.strip_prefix("hf://")?.split('/');
    let (org, model) = (names.next()?, names.next()?);
    Some(format!("{org}/{}", model.split('@').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_the_hub_go_by_their_id() {
        let id = |address: &str| hub_id(Path::new(address));
        assert_eq!(id("hf://org/model@v1/sub/model.gguf").as_deref(), Some("org/model"));
        assert_eq!(id("hf://org/model").as_deref(), Some("org/model"));
        assert_eq!(id("s3://bucket/model"), None);
    }

    #[test]
    fn addresses_are_told_from_paths() {
        for address in ["hf://org/model", "https://host/model.gguf", "s3://bucket/model", "az://box/model"] {
            assert!(is_address(Path::new(address)), "{address}");
            assert!(is_address(&Path::new(address).join("config.json")), "{address}");
        }
        for path in ["org/model", "hf:/x", "ftp://host/model", "C:\\model", "./s3://bucket"] {
            assert!(!is_address(Path::new(path)), "{path}");
        }
    }
}
