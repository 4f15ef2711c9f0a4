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
    if rest.split('/').take(least).filter(|part| !part.is_empty()).count() < least {
        let expected = match scheme {
            "hf" => "hf://ORG/MODEL, hf://ORG/MODEL@REVISION or a file below it",
            "s3" | "gs" | "az" => "the name of a bucket or container after ://",
            _ => "a host after ://",
        };
        return Err(Error::format(path, format!("expected {expected}")));
    }
    Ok(())
}

/// What a model is called by others: of the hub, its id.
pub(crate) fn name(path: &Path) -> String {
    let text = path.display().to_string();
    let Some(rest) = text.strip_prefix("hf://") else { return text };
    let id: Vec<_> = rest.splitn(3, '/').take(2).collect();
    let id = id.join("/");
    id.split_once('@').map_or(id.clone(), |(id, _)| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_the_hub_go_by_their_id() {
        assert_eq!(name(Path::new("hf://org/model@v1/sub/model.gguf")), "org/model");
        assert_eq!(name(Path::new("hf://org/model")), "org/model");
        assert_eq!(name(Path::new("s3://bucket/model")), "s3://bucket/model");
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
