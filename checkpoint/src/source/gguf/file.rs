//! One GGUF file: its header, its keys, its tensors.

use super::cursor::Cursor;
use super::tensors::{LEAST_INFO, TensorInfo, place, read};
use super::value::Value;
use crate::error::{Error, Result, push, set_of};
use crate::source::attention::Heads;
use std::path::Path;

const MAGIC: &[u8] = b"GGUF";

/// Alignment of a file that does not state one.
const ALIGNMENT: usize = 32;

/// Longest key the format allows.
const MAX_KEY: usize = 65_535;

/// Least bytes of a key and its value: the length of the key, the type, a byte.
const LEAST_KEY_VALUE: usize = 8 + 4 + 1;

/// A parsed file; strings and arrays are views of its bytes.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) version: u32,
    /// Alignment of the tensors, a power of two.
    pub(crate) alignment: usize,
    /// In file order.
    pub(crate) metadata: Vec<KeyValue<'a>>,
    /// In the order of the file's table.
    pub(crate) tensors: Vec<TensorInfo<'a>>,
    /// Where the tensors begin.
    pub(crate) data_start: usize,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: Value<'a>,
}

/// Whether a file that begins with these bytes means to be GGUF.
pub(crate) fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

impl<'a> File<'a> {
    /// Reads and checks all but the tensors of the file `path`, whose whole content is `bytes`. Memory is
    /// proportional to what was read, never to a number in the file.
    pub(crate) fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let bad = |problem: String| Error::format(path, problem);
        let header = |problem: String| bad(format!("GGUF header: {problem}"));
        let mut cursor = Cursor::new(bytes);
        if !is_gguf(bytes) {
            return Err(bad("not a GGUF file: it does not begin with the letters GGUF".into()));
        }
        cursor.take(MAGIC.len(), "magic").map_err(header)?;
        let version = cursor.u32("version").map_err(header)?;
        check_version(version).map_err(bad)?;
        let tensors = cursor.count(LEAST_INFO, "tensor_count").map_err(header)?;
        let keys = cursor.count(LEAST_KEY_VALUE, "metadata_kv_count").map_err(header)?;
        let metadata = metadata(path, &mut cursor, keys)?;
        let alignment = alignment(&metadata).map_err(bad)?;
        let stated = read(path, &mut cursor, tensors)?;
        let data_start = match cursor.position().checked_next_multiple_of(alignment) {
            Some(start) if start <= bytes.len() => start,
            _ if stated.is_empty() => bytes.len(),
            _ => {
                let problem =
                    format!("cut short: it ends before the alignment of {alignment} bytes is reached");
                return Err(bad(problem));
            }
        };
        let tensors = place(path, stated, data_start..bytes.len(), alignment)?;
        Ok(Self { version, alignment, metadata, tensors, data_start })
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.metadata.iter().find(|pair| pair.key == key).map(|pair| pair.value)
    }

    /// The value of `key` where it is a string.
    pub(crate) fn str(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.to_str()
    }

    /// The attention heads that the keys state for all layers alike.
    pub(crate) fn heads(&self) -> Option<Heads> {
        let count = |name: &str| self.same(&format!("{}.attention.{name}", self.architecture()?));
        let queries = count("head_count")?;
        Some(Heads { queries, keys: count("head_count_kv").unwrap_or(queries) })
    }

    /// A count that is stated once, or for each layer and the same for all; not 0.
    fn same(&self, key: &str) -> Option<usize> {
        let value = match self.get(key)? {
            Value::Array(array) => {
                let mut values = array.iter().map(Value::to_u64);
                let first = values.next()?;
                values.all(|value| value == first).then_some(first)?
            }
            value => value.to_u64(),
        };
        value.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0)
    }

    /// `general.architecture`.
    pub(crate) fn architecture(&self) -> Option<&'a str> {
        self.str("general.architecture")
    }
}

fn check_version(version: u32) -> std::result::Result<(), String> {
    match version {
        2 | 3 => Ok(()),
        1 => Err("GGUF version 1, which is no longer read, expected 2 or 3; convert the model again".into()),
        // Of a big-endian file the low half of the version is zero.
        _ if version != 0 && version.trailing_zeros() >= 16 => Err(format!(
            "a big-endian GGUF file (version {}), expected a little-endian one",
            version.swap_bytes()
        )),
        _ => Err(format!(
            "its GGUF version is {version}, expected 2 or 3: damaged, or written by a later llama.cpp; download or convert it again"
        )),
    }
}

fn metadata<'a>(path: &Path, cursor: &mut Cursor<'a>, count: usize) -> Result<Vec<KeyValue<'a>>> {
    // As many as are stated fit into the file.
    let (mut metadata, mut seen) = (Vec::new(), set_of(count)?);
    for number in 1..=count {
        let unnamed = |problem: String| Error::format(path, format!("key {number} of {count}: {problem}"));
        let bytes = cursor.string("name").map_err(unnamed)?;
        if bytes.len() > MAX_KEY {
            return Err(unnamed(format!("its name is {} bytes long, more than {MAX_KEY}", bytes.len())));
        }
        let key = std::str::from_utf8(bytes).map_err(|_| unnamed("its name is not UTF-8".into()))?;
        let bad = |problem: String| Error::format(path, format!("key {key}: {problem}"));
        if !seen.insert(key) {
            return Err(bad("named twice in the file".into()));
        }
        let value = Value::read(cursor).map_err(bad)?;
        push(&mut metadata, KeyValue { key, value })?;
    }
    Ok(metadata)
}

fn alignment(metadata: &[KeyValue<'_>]) -> std::result::Result<usize, String> {
    let Some(stated) = metadata.iter().find(|pair| pair.key == "general.alignment") else {
        return Ok(ALIGNMENT);
    };
    match stated.value {
        Value::U32(alignment) if alignment.is_power_of_two() => Ok(alignment as usize),
        Value::U32(alignment) => {
            Err(format!("key general.alignment: it is {alignment}, expected a power of two"))
        }
        other => Err(format!("key general.alignment: it is of type {}, expected u32", other.type_name())),
    }
}
