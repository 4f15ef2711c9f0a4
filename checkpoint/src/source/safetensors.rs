//! The header of a safetensors file, checked so that every later slice of the file is in bounds.
//!
//! It is read here and not by the `safetensors` crate since messages must name the tensor, and since a file
//! with one tensor of a dtype unknown to that crate is still good for its other tensors.

use crate::error::{Error, Result, push, set_of};
use crate::source::json::{Json, Key};
use crate::source::not_weights::{self, AGAIN};
use crate::source::stored::Stored;
use phlora_core::Dtype;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Longest header accepted, the limit of the reference implementation.
const MAX_HEADER: usize = 100_000_000;

/// Most axes of a tensor.
const MAX_AXES: usize = 64;

/// Longest name of a tensor, in bytes: each of the experts in a tensor gets it.
const MAX_NAME: usize = 512;

/// Name of what is no tensor.
const METADATA: &str = "__metadata__";

/// Reads and checks the header of a file of `length` bytes, which begins with `bytes`: the header, or more. Entries come in
/// file order.
pub(crate) fn parse(path: &Path, bytes: &[u8], length: usize) -> Result<Vec<Stored>> {
    let total = length;
    not_weights::refuse(path, bytes)?;
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(Error::format(
            path,
            format!("not a safetensors file: shorter than the 8 bytes of a header length; {AGAIN}"),
        ));
    };
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().and_then(|n| rest.get(..n)).ok_or_else(|| {
        Error::format(
            path,
            format!(
                "not a safetensors file, or cut short: its header would be {length} bytes long, but only {} follow; \
                 {AGAIN}",
                total - 8
            ),
        )
    })?;
    if header.len() > MAX_HEADER {
        return Err(Error::format(
            path,
            format!("its header is {length} bytes long, more than {MAX_HEADER}"),
        ));
    }
    let start = 8 + header.len();
    let mut tensors = Tensors { path, data: start..total, entries: Vec::new(), refused: None };
    let mut json = serde_json::Deserializer::from_slice(header);
    let read = tensors.deserialize(&mut json).and_then(|()| json.end());
    if let Some(refused) = tensors.refused {
        return Err(refused);
    }
    read.map_err(|e| Error::format(path, format!("not a safetensors file: its header is not valid: {e}")))?;
    let mut entries = tensors.entries;
    entries.shrink_to_fit();
    let mut seen = set_of(entries.len())?;
    if let Some(twice) = entries.iter().find(|entry| !seen.insert(entry.name.as_str())) {
        return Err(Error::tensor(path, &twice.name, "named twice in the header"));
    }
    drop(seen);
    let place = |entry: &Stored| (entry.range.start, entry.range.end);
    if !entries.is_sorted_by_key(place) {
        entries.sort_by_key(place);
    }
    check_cover(path, &entries, start..total)?;
    Ok(entries)
}

/// Where the header of a file of `length` bytes ends that begins with `bytes`, if that may be a safetensors file.
#[cfg_attr(not(remote), allow(dead_code, reason = "files that are not at addresses are there as a whole"))]
pub(crate) fn header_end(bytes: &[u8], length: usize) -> Option<usize> {
    let stated = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let end = stated.checked_add(8).filter(|end| *end <= length)?;
    (stated <= MAX_HEADER).then_some(end)
}

/// Bytes of the header of a file that [`parse`] has read.
pub(crate) fn header_len(bytes: &[u8]) -> usize {
    bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length) as usize)
}

/// The header of the file whose whole content is `bytes`; what is too long is none.
fn header<'f>(path: &Path, bytes: &'f [u8]) -> Result<Json<'f>> {
    let header = bytes.split_first_chunk::<8>().and_then(|(length, rest)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        rest.get(..length).filter(|header| header.len() <= MAX_HEADER)
    });
    Json::parse(header.unwrap_or_default())
        .map_err(|e| Error::format(path, format!("not a safetensors file: its header is not valid: {e}")))
}

/// What a file begins with whose header is `json`: its length, and spaces up to a multiple of 8 bytes behind it.
pub(crate) fn framed(mut json: Vec<u8>) -> Vec<u8> {
    json.resize(json.len().next_multiple_of(size_of::<u64>()), b' ');
    [(json.len() as u64).to_le_bytes().as_slice(), &json].concat()
}

/// The texts of the keys `wanted` in the metadata of `file`, whose whole content is `bytes`.
pub(crate) fn metadata(path: &Path, bytes: &[u8], wanted: &[&str]) -> Result<BTreeMap<String, String>> {
    metadata_where(path, bytes, |key| wanted.contains(&key))
}

/// The texts of the metadata whose keys are `wanted`.
pub(crate) fn metadata_where(
    path: &Path,
    bytes: &[u8],
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>> {
    let header = header(path, bytes)?;
    let mut texts = BTreeMap::new();
    header.at(METADATA).each_entry(|key, value| {
        if let Some(text) = value.text().filter(|_| wanted(&key)) {
            texts.insert(key.into_owned(), text.into_owned());
        }
        true
    });
    Ok(texts)
}

/// The metadata of a file that [`parse`] has read, as they stand there.
pub(crate) fn raw_metadata<'f>(path: &Path, bytes: &'f [u8]) -> Result<Option<&'f str>> {
    let header = header(path, bytes)?;
    let metadata = header.at(METADATA);
    Ok((!metadata.is_null()).then(|| metadata.raw()))
}

/// Checks one tensor's entry; `data` is the file after the header.
fn entry(path: &Path, name: &str, value: Json<'_>, data: &Range<usize>) -> Result<Stored> {
    const FIELDS: [&str; 3] = ["dtype", "shape", "data_offsets"];
    let bad = |problem: String| Error::tensor(path, name, problem);
    let (mut fields, mut twice) = ([None; FIELDS.len()], None);
    if name.len() > MAX_NAME {
        let problem = format!("a name of {} bytes, more than {MAX_NAME}: {:.60}…", name.len(), name);
        return Err(Error::format(path, problem));
    }
    value.each_entry(|key, value| {
        let at = FIELDS.iter().position(|field| *field == key);
        if let Some(at) = at.filter(|at| fields[*at].replace(value).is_some()) {
            twice = Some(FIELDS[at]);
        }
        twice.is_none()
    });
    if let Some(field) = twice {
        return Err(bad(format!("its header entry has {field} twice")));
    }
    let [dtype, shape, offsets] = fields;
    let dtype =
        dtype.and_then(Json::text).ok_or_else(|| bad("its header entry has no dtype".into()))?.into_owned();
    let shape = shape.and_then(Json::sizes).ok_or_else(|| bad("its shape is not a list of sizes".into()))?;
    if shape.len() > MAX_AXES {
        return Err(bad(format!("its shape has {} axes, more than {MAX_AXES}", shape.len())));
    }
    let offsets = offsets.and_then(Json::sizes).unwrap_or_default();
    let &[begin, end] = offsets.as_slice() else {
        return Err(bad("its data_offsets are not two offsets".into()));
    };
    if begin > end || end > data.len() {
        return Err(bad(format!(
            "its offsets {begin}..{end} leave the file, which holds {} bytes of tensors: cut short? {AGAIN}",
            data.len()
        )));
    }
    // A dtype that nobody knows has no size to check; such a tensor is never decoded.
    let known = known(&dtype);
    let bits = shape.iter().try_fold(known.map_or(1, |d| d.bitsize()), |n, &size| n.checked_mul(size));
    if bits.is_none() || known.is_some() && bits != (end - begin).checked_mul(8) {
        return Err(bad(format!("{dtype} of shape {shape:?} does not take its {} bytes", end - begin)));
    }
    // A name that only means something in GGUF has no size here that could be relied on.
    let read = Dtype::ALL.iter().copied().filter(|read| !read.is_block());
    Ok(Stored {
        name: name.to_owned(),
        dtype: known.and_then(|_| read.into_iter().find(|read| read.name() == dtype)),
        dtype_name: dtype,
        shape,
        range: data.start + begin..data.start + end,
    })
}

/// Checks that the tensors follow one another without overlap or gap up to the end of the file.
fn check_cover(path: &Path, entries: &[Stored], data: Range<usize>) -> Result<()> {
    let mut at = data.start;
    let mut before = "the header";
    for entry in entries {
        if entry.range.start != at {
            let how = if entry.range.start < at { "overlap with" } else { "leave a gap after" };
            return Err(Error::tensor(path, &entry.name, format!("its bytes {how} {before}")));
        }
        at = entry.range.end;
        before = &entry.name;
    }
    if at != data.end {
        return Err(Error::format(path, format!("{} bytes at its end belong to no tensor", data.end - at)));
    }
    Ok(())
}

/// The dtype of that name of the reference implementation.
fn known(name: &str) -> Option<safetensors::Dtype> {
    use serde::de::{IntoDeserializer, value::StrDeserializer};
    let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    serde::Deserialize::deserialize(name).ok()
}

/// Takes the entries of a header one after the other, so that none is held but as what it states.
struct Tensors<'f> {
    path: &'f Path,
    data: Range<usize>,
    entries: Vec<Stored>,
    /// Why an entry is refused, with its name.
    refused: Option<Error>,
}

impl<'de> DeserializeSeed<'de> for &mut Tensors<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Tensors<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<(), M::Error> {
        let mut metadata = false;
        while let Some(name) = map.next_key_seed(Key)? {
            let value = Json::from(map.next_value::<&RawValue>()?);
            if name == METADATA {
                if std::mem::replace(&mut metadata, true) {
                    return Err(M::Error::custom(format_args!("{METADATA} stands there twice")));
                }
                check_metadata(value).map_err(M::Error::custom)?;
                continue;
            }
            let added = match entry(self.path, &name, value, &self.data) {
                Ok(entry) => push(&mut self.entries, entry),
                Err(refused) => Err(refused),
            };
            if let Err(refused) = added {
                self.refused = Some(refused);
                return Err(M::Error::custom("an entry is refused"));
            }
        }
        Ok(())
    }
}

/// Metadata are texts, and nothing else.
fn check_metadata(value: Json<'_>) -> std::result::Result<(), String> {
    let mut wrong = None;
    let entries = value.each_entry(|key, value| {
        wrong = value.text().is_none().then(|| key.into_owned());
        wrong.is_none()
    });
    match wrong {
        Some(key) => Err(format!("{key} in {METADATA} is not a text")),
        None if entries || value.is_null() => Ok(()),
        None => Err(format!("{METADATA} is not an object")),
    }
}

#[cfg(test)]
mod tests;
