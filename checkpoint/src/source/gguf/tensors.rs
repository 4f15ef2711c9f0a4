//! The table of tensors, checked so that every later slice of the file is in bounds.

use super::cursor::{Cursor, Problem};
use super::types::layout;
use crate::error::{Error, Result, collected, filled, room_for, set_of};
use phlora_core::Dtype;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

/// Most axes of a tensor in ggml.
const MAX_AXES: u32 = 4;

/// Longest name of a tensor. ggml's own limit is 63 bytes, or 127 where a program has raised it.
const MAX_NAME: usize = 127;

/// Most tensors of a file, several times those of any model: experts are stacked.
const MAX_TENSORS: usize = 1 << 15;

/// Least bytes of a tensor's entry: the length of its name, number of axes, type, offset.
pub(super) const LEAST_INFO: usize = 8 + 4 + 4 + 8;

/// One tensor as the file states it, checked.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo<'a> {
    pub(crate) name: &'a str,
    /// Slowest axis first: the reverse of ggml's `ne`.
    pub(crate) shape: Vec<usize>,
    /// `ggml_type`.
    pub(crate) ggml_type: u32,
    /// Where its bytes are in the file. Those of a type that nobody knows end where the next tensor begins.
    pub(crate) range: Range<usize>,
}

impl TensorInfo<'_> {
    /// The type's name, or its number where nobody knows it.
    pub(crate) fn type_name(&self) -> Cow<'static, str> {
        match layout(self.ggml_type) {
            Some(layout) => layout.name.into(),
            None => format!("type {}", self.ggml_type).into(),
        }
    }

    /// Its format where that is decoded here.
    pub(crate) fn dtype(&self) -> Option<Dtype> {
        Dtype::from_ggml_type(self.ggml_type)
    }
}

/// Reads `count` entries; their offsets are not checked yet.
pub(super) fn read<'a>(path: &Path, cursor: &mut Cursor<'a>, count: usize) -> Result<Vec<Stated<'a>>> {
    if count > MAX_TENSORS {
        let problem = format!("GGUF header: its tensor_count is {count}, more than {MAX_TENSORS}");
        return Err(Error::format(path, problem));
    }
    let (mut stated, mut seen) = (room_for(count)?, set_of(count)?);
    for number in 1..=count {
        let name = cursor.string("name").and_then(|bytes| match bytes.len() {
            0..=MAX_NAME => std::str::from_utf8(bytes).map_err(|_| "its name is not UTF-8".to_owned()),
            length => Err(format!("its name is {length} bytes long, more than {MAX_NAME}")),
        });
        let name =
            name.map_err(|problem| Error::format(path, format!("tensor {number} of {count}: {problem}")))?;
        if !seen.insert(name) {
            return Err(Error::tensor(path, name, "named twice in the file"));
        }
        stated.push(Stated::read(name, cursor).map_err(|problem| Error::tensor(path, name, problem))?);
    }
    Ok(stated)
}

/// An entry as it stands in the file.
#[derive(Debug)]
pub(super) struct Stated<'a> {
    name: &'a str,
    shape: Vec<usize>,
    ggml_type: u32,
    offset: u64,
    /// `None` for a type that nobody knows.
    bytes: Option<usize>,
}

impl<'a> Stated<'a> {
    fn read(name: &'a str, cursor: &mut Cursor<'a>) -> std::result::Result<Self, Problem> {
        let axes = cursor.u32("number of axes")?;
        if axes > MAX_AXES {
            return Err(format!("its number of axes is {axes}, expected at most {MAX_AXES}"));
        }
        let mut shape = Vec::new();
        for axis in 0..axes {
            let size = cursor.u64("size")?;
            if size == 0 {
                return Err(format!("its size along axis {axis} is 0"));
            }
            let size = usize::try_from(size);
            shape.push(size.map_err(|_| format!("its size along axis {axis} is beyond this machine"))?);
        }
        shape.reverse();
        let ggml_type = cursor.u32("type")?;
        let offset = cursor.u64("offset")?;
        let entries = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let too_large = || format!("its shape {shape:?} is beyond this machine");
        let entries = entries.ok_or_else(too_large)?;
        let bytes = match layout(ggml_type) {
            None => None,
            Some(layout) => {
                let row = shape.last().copied().unwrap_or(1);
                if !row.is_multiple_of(layout.len) {
                    return Err(format!(
                        "its rows have {row} entries, which {} cannot store: expected a multiple of {}",
                        layout.name, layout.len
                    ));
                }
                Some((entries / layout.len).checked_mul(layout.bytes).ok_or_else(too_large)?)
            }
        };
        Ok(Self { name, shape, ggml_type, offset, bytes })
    }
}

/// Places the tensors in `data`, what follows the table in the file, and checks that none leaves it or
/// overlaps another. The order of the table is kept.
pub(super) fn place<'a>(
    path: &Path,
    stated: Vec<Stated<'a>>,
    data: Range<usize>,
    alignment: usize,
) -> Result<Vec<TensorInfo<'a>>> {
    let mut starts = room_for(stated.len())?;
    for tensor in &stated {
        let bad = |problem| Error::tensor(path, tensor.name, problem);
        let offset = tensor.offset;
        if !offset.is_multiple_of(alignment as u64) {
            return Err(bad(format!("its offset {offset} is not a multiple of the alignment {alignment}")));
        }
        let start = usize::try_from(offset).ok().and_then(|offset| data.start.checked_add(offset));
        let end = start.and_then(|start| start.checked_add(tensor.bytes.unwrap_or(0)));
        match (start, end) {
            (Some(start), Some(end)) if end <= data.end => starts.push(start),
            _ => {
                let length =
                    tensor.bytes.map_or(String::new(), |bytes| format!(" and length of {bytes} bytes"));
                return Err(bad(format!(
                    "its offset {offset}{length} leave the file, which holds {} bytes of tensors",
                    data.len()
                )));
            }
        }
    }
    let mut order = collected(stated.len(), 0..stated.len())?;
    order.sort_by_key(|&at| (starts[at], stated[at].bytes));
    let mut ends = filled(0, stated.len())?;
    for (position, &at) in order.iter().enumerate() {
        let next = order.get(position + 1).copied();
        let free = next.map_or(data.end, |next| starts[next]);
        ends[at] = stated[at].bytes.map_or(free, |bytes| starts[at] + bytes);
        if let Some(next) = next
            && (ends[at] > free || starts[at] == free)
        {
            let problem = format!("its bytes overlap with {}", stated[at].name);
            return Err(Error::tensor(path, stated[next].name, problem));
        }
    }
    let count = stated.len();
    let placed = stated.into_iter().zip(starts.into_iter().zip(ends));
    let placed = placed.map(|(tensor, (start, end))| TensorInfo {
        name: tensor.name,
        shape: tensor.shape,
        ggml_type: tensor.ggml_type,
        range: start..end,
    });
    collected(count, placed)
}
