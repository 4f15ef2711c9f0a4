//! `adapter_model.safetensors`: the factors of an extraction under PEFT's names.

use crate::error::{Error, Result};
use crate::extract::Extraction;
use crate::outcome::Module;
use phlora_core::Dtype;
use safetensors::tensor::View;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// What PEFT puts before a module's path.
pub(crate) const PREFIX: &str = "base_model.model.";

/// One factor as the file holds it. Padded factors are made when they are written, one at a time.
struct Factor<'e> {
    module: &'e Module,
    shape: [usize; 2],
    dtype: Dtype,
    is_a: bool,
}

/// Writes the factors to `path`, tensor by tensor, and waits until they are on disk.
pub(crate) fn write(extraction: &Extraction, path: &Path) -> Result<()> {
    let rank = extraction.rank();
    let mut tensors = Vec::with_capacity(2 * extraction.modules.len());
    for module in &extraction.modules {
        let [rows, cols] = module.report.shape;
        for (name, shape, is_a) in [("lora_A", [rank, cols], true), ("lora_B", [rows, rank], false)] {
            let name = format!("{PREFIX}{}.{name}.weight", module.report.name);
            tensors.push((name, Factor { module, shape, dtype: extraction.dtype, is_a }));
        }
    }
    // What transformers and PEFT look for, to know whose tensors these are.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let failed = |e: io::Error| Error::io(path, "write", e);
    safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => failed(e),
        other => Error::format(path, other.to_string()),
    })?;
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

impl View for Factor<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        match self.dtype {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::Bf16 => safetensors::Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let factors = &self.module.factors;
        let rank = if self.is_a { self.shape[0] } else { self.shape[1] };
        match (factors.rank == rank, self.is_a) {
            (true, true) => factors.a.as_slice().into(),
            (true, false) => factors.b.as_slice().into(),
            (false, true) => factors.padded_a(rank).into(),
            (false, false) => factors.padded_b(rank, self.dtype).into(),
        }
    }

    fn data_len(&self) -> usize {
        let size = self.dtype.row_bytes(1).unwrap_or(0);
        self.shape[0] * self.shape[1] * size
    }
}
