//! JSON files, on disk or at addresses.

use crate::error::{Error, Result};
use crate::source::json::{JsonText, checked};
use crate::source::mapped::open_regular;
use crate::source::place::is_address;
use crate::source::remote;
use std::io::Read;
use std::path::Path;

/// Longest JSON file read, so that a wrong path cannot fill the memory.
const MAX_JSON: u64 = 100_000_000;

/// Reads and checks a JSON file of sane length.
pub(crate) fn read_json(path: &Path) -> Result<JsonText> {
    let found = read_small(path, MAX_JSON)?;
    text(path, found.ok_or_else(|| Error::format(path, "there is no such file"))?)
}

/// The same of a file that need not be there.
pub(crate) fn read_json_if_there(path: &Path) -> Result<Option<JsonText>> {
    if !is_address(path) && !path.is_file() {
        return Ok(None);
    }
    read_small(path, MAX_JSON)?.map(|bytes| text(path, bytes)).transpose()
}

/// The bytes of a small file, as far as one more than `most`; of one at an address that is not there, `None`.
fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    if is_address(path) {
        return remote::read_small(path, most);
    }
    let mut bytes = Vec::new();
    let (file, _) = open_regular(path)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    Ok(Some(bytes))
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<JsonText> {
    if bytes.len() as u64 > MAX_JSON {
        return Err(Error::format(path, format!("longer than {MAX_JSON} bytes, expected a small JSON file")));
    }
    checked(path, bytes)
}
