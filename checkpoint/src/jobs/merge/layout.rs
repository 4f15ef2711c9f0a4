//! Where the bytes of a file of the base are in its copy: in the same places, or behind a header that names other tensors.

use super::terms::NewTensor;
use crate::error::{Error, Result};
use crate::source::safetensors::{framed, header_len, parse, raw_metadata};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

/// The plan of a file.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    /// What takes the place of the base's header, where that changes.
    header: Vec<u8>,
    /// Ranges of the base's file, in order, and where they begin in the copy.
    moves: Vec<(Range<usize>, usize)>,
    /// What is written behind the base's tensors, with its place.
    added: Vec<(usize, Cow<'a, [u8]>)>,
    /// Bytes of the copy.
    pub(super) len: usize,
}

impl<'a> Layout<'a> {
    /// That of a file of `len` bytes that keeps its header.
    pub(super) fn same(len: usize) -> Self {
        Self { header: Vec::new(), moves: vec![(0..len, 0)], added: Vec::new(), len }
    }

    /// That of the safetensors file `path`, which holds `bytes`, with the tensors `new` at its end and without those of
    /// their names.
    pub(super) fn with(path: &Path, bytes: &[u8], new: &'a [NewTensor<'_>]) -> Result<Self> {
        let mut entries = Vec::new();
        if let Some(metadata) = raw_metadata(path, bytes)? {
            entries.push(format!("\"__metadata__\":{metadata}"));
        }
        let named = |name: &str| new.iter().any(|tensor| tensor.name == name);
        let (mut moves, mut at) = (Vec::<(Range<usize>, usize)>::new(), 0);
        for stored in parse(path, bytes, bytes.len())?.iter().filter(|stored| !named(&stored.name)) {
            entries.push(entry(
                path,
                &stored.name,
                &stored.dtype_name,
                &stored.shape,
                at..at + stored.range.len(),
            )?);
            match moves.last_mut() {
                Some((range, _)) if range.end == stored.range.start => range.end = stored.range.end,
                _ => moves.push((stored.range.clone(), at)),
            }
            at += stored.range.len();
        }
        let mut added = Vec::with_capacity(new.len());
        for NewTensor { name, values, shape, .. } in new {
            let bytes = values.encoded()?;
            let place =
                at..at.checked_add(bytes.len()).ok_or_else(|| values.error("too large for a file"))?;
            entries.push(entry(path, name, values.dtype().name(), shape, place.clone())?);
            added.push((place.start, bytes));
            at = place.end;
        }
        let header = framed(format!("{{{}}}", entries.join(",")).into_bytes());
        let places = moves.iter_mut().map(|(_, to)| to).chain(added.iter_mut().map(|(to, _)| to));
        for place in places {
            *place += header.len();
        }
        let len = header.len() + at;
        Ok(Self { header, moves, added, len })
    }

    /// The ranges of the base's file that are in the copy.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Range<usize>> {
        self.moves.iter().map(|(range, _)| range)
    }

    /// Where `at`, a place in the base's file that is kept, is in the copy.
    pub(super) fn place(&self, at: usize) -> usize {
        let moved = self.moves.iter().find(|(range, _)| range.contains(&at));
        moved.map_or(at, |(range, to)| at - range.start + to)
    }

    /// What is not from the base's file, with its places in the copy.
    pub(super) fn own(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let header = (!self.header.is_empty()).then_some((0, self.header.as_slice()));
        header.into_iter().chain(self.added.iter().map(|(at, bytes)| (*at, bytes.as_ref())))
    }

    /// How many bytes of tensors the copy has more than a file of `before` bytes, which begins with `bytes`.
    pub(super) fn growth(&self, bytes: &[u8]) -> i128 {
        let data = |all: usize, header: usize| all as i128 - header as i128;
        if self.header.is_empty() {
            return 0;
        }
        data(self.len, self.header.len()) - data(bytes.len(), 8 + header_len(bytes))
    }
}

/// The entry of a tensor in a header.
fn entry(path: &Path, name: &str, dtype: &str, shape: &[usize], at: Range<usize>) -> Result<String> {
    let text = |text: &str| {
        serde_json::to_string(text).map_err(|error| Error::tensor(path, name, error.to_string()))
    };
    let (begin, end) = (at.start, at.end);
    Ok(format!(
        "{}:{{\"dtype\":{},\"shape\":{shape:?},\"data_offsets\":[{begin},{end}]}}",
        text(name)?,
        text(dtype)?
    ))
}
