//! JSON files of sane length.

use crate::error::{Error, Result};
use crate::source::mapped::open_regular;
use crate::source::not_weights;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Longest JSON file read, so that a wrong path cannot fill the memory.
const MAX_JSON: u64 = 100_000_000;

/// Reads and parses a JSON file of sane length.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let mut bytes = Vec::new();
    let (file, _) = open_regular(path)?;
    file.take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    if bytes.len() as u64 > MAX_JSON {
        return Err(Error::format(path, format!("longer than {MAX_JSON} bytes, expected a small JSON file")));
    }
    serde_json::from_slice(&bytes).map_err(|e| {
        let what = not_weights::pointer(&bytes).map_or_else(|| format!("not valid JSON: {e}"), str::to_owned);
        Error::format(path, what)
    })
}
