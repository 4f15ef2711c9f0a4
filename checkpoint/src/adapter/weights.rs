//! Writes factors as a safetensors file, one tensor at a time.
//!
//! The `safetensors` crate would do, but for its metadata, whose order is another in every run.

use super::values::Values;
use crate::error::{Error, Result};
use crate::source::safetensors::framed;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// A tensor of the file.
#[derive(Debug)]
pub(crate) struct Named<'l> {
    pub(crate) name: String,
    pub(crate) values: Values<'l>,
    /// With as many entries.
    pub(crate) shape: Vec<usize>,
}

/// A file on its way.
#[derive(Debug)]
pub(crate) struct Weights<'l> {
    tensors: Vec<Named<'l>>,
    /// Length, JSON and padding.
    header: Vec<u8>,
    /// Bytes of the tensors.
    data: usize,
}

impl<'l> Weights<'l> {
    /// Lays `tensors` out: the wider formats first, then by name, as the reference implementation does.
    ///
    /// # Errors
    /// When a factor has a format that safetensors does not have.
    pub(crate) fn new(mut tensors: Vec<Named<'l>>, metadata: &BTreeMap<&str, String>) -> Result<Self> {
        let mut entries = Map::new();
        entries.insert("__metadata__".to_owned(), json!(metadata));
        for tensor in &tensors {
            dtype(&tensor.values)?;
        }
        tensors.sort_by(|a, b| {
            dtype(&b.values).ok().cmp(&dtype(&a.values).ok()).then_with(|| a.name.cmp(&b.name))
        });
        let mut data = 0_usize;
        for Named { name, values, shape } in &tensors {
            let end = values.encoded_len().and_then(|bytes| data.checked_add(bytes));
            let end = end.ok_or_else(|| values.factor().error("too large for a file"))?;
            let entry = json!({"dtype": values.dtype().name(), "shape": shape, "data_offsets": [data, end]});
            entries.insert(name.clone(), entry);
            data = end;
        }
        let header = framed(serde_json::to_vec(&Value::Object(entries)).unwrap_or_default());
        Ok(Self { tensors, header, data })
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        (self.header.len() + self.data) as u64
    }

    /// Writes it to `out`.
    ///
    /// # Errors
    /// When an entry is not finite in its format; and what `out` refuses.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<()> {
        let failed = |e: io::Error| Error::io("the adapter".as_ref(), "write", e);
        out.write_all(&self.header).map_err(failed)?;
        for tensor in &self.tensors {
            out.write_all(&tensor.values.encoded()?).map_err(failed)?;
        }
        Ok(())
    }
}

/// The format in the crate's terms, whose order is that of the file.
fn dtype(values: &Values<'_>) -> Result<safetensors::Dtype> {
    let name = values.dtype().name();
    serde_json::from_value(name.into()).map_err(|_| {
        values.factor().error(format!("a safetensors adapter cannot hold {name}; use f32, f16 or bf16"))
    })
}
