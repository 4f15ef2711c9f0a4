//! Writes the two files, the factors tensor by tensor.

use super::config::written;
use super::{CONFIG, PREFIX, WEIGHTS};
use crate::error::{Error, Result};
use crate::lora::stored::shapes;
use crate::lora::{Factor, Lora, Naming};
use crate::staging::write_synced;
use safetensors::tensor::{Metadata, TensorInfo, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Writes `lora` into `directory` and waits until it is on disk. Gives the bytes written.
pub(crate) fn write(lora: &Lora<'_>, directory: &Path) -> Result<u64> {
    lora.check()?;
    if lora.naming != Naming::HuggingFace {
        return Err(Error::Usage("PEFT knows no modules under GGUF's names".into()));
    }
    let (config, weights) = (directory.join(CONFIG), directory.join(WEIGHTS));
    let json = written(lora);
    write_synced(&config, json.as_bytes()).map_err(|e| Error::io(&config, "write", e))?;
    write_weights(lora, &weights)?;
    // The safetensors crate makes a file that only its owner may read.
    let copy_permissions = || {
        fs::set_permissions(&weights, fs::metadata(&config)?.permissions())?;
        Ok(fs::metadata(&weights)?.len() + json.len() as u64)
    };
    copy_permissions().map_err(|e| Error::io(&weights, "write", e))
}

/// A tensor as the safetensors crate asks for it.
struct Stored<'l> {
    factor: Cow<'l, Factor<'l>>,
    shape: Vec<usize>,
    dtype: safetensors::Dtype,
    /// The first error; the crate's interface has no way for one.
    failed: &'l RefCell<Option<Error>>,
}

/// Bytes that [`write`] will write, from shapes and names alone.
pub(crate) fn length(lora: &Lora<'_>) -> Result<u64> {
    let failed = RefCell::new(None);
    let mut tensors = tensors(lora, &failed)?;
    // The order in which the crate lays them out: offsets are written in digits.
    tensors.sort_by(|(a, left), (b, right)| right.dtype.cmp(&left.dtype).then_with(|| a.cmp(b)));
    let mut end = 0;
    let infos = tensors.into_iter().map(|(name, tensor)| {
        let start = end;
        end += tensor.data_len();
        let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape, data_offsets: (start, end) };
        (name, info)
    });
    let infos = infos.collect();
    let unsound = |problem: String| Error::Usage(format!("no sound adapter: {problem}"));
    let header = Metadata::new(Some(metadata()), infos).map_err(|e| unsound(e.to_string()))?;
    let header = serde_json::to_string(&header).map_err(|e| unsound(e.to_string()))?.len();
    let weights = size_of::<u64>() + header.next_multiple_of(size_of::<u64>()) + end;
    Ok((weights + written(lora).len()) as u64)
}

/// What transformers and PEFT look for, to know whose tensors these are.
fn metadata() -> HashMap<String, String> {
    HashMap::from([("format".to_owned(), "pt".to_owned())])
}

/// The tensors of the file, under their names.
fn tensors<'l>(lora: &'l Lora<'_>, failed: &'l RefCell<Option<Error>>) -> Result<Vec<(String, Stored<'l>)>> {
    let mut tensors = Vec::with_capacity(2 * lora.modules.len());
    for module in &lora.modules {
        let (mut a, mut b) = (Cow::Borrowed(&module.a), Cow::Borrowed(&module.b));
        let mut names = ["lora_A.weight", "lora_B.weight"];
        if module.embedding {
            // PEFT adds (B·A)ᵀ to a lookup table.
            names = ["lora_embedding_A", "lora_embedding_B"];
            std::mem::swap(&mut a, &mut b);
            a.to_mut().transpose();
            b.to_mut().transpose();
        }
        let shapes = shapes(&a, &b, &module.kernel);
        for ((name, factor), shape) in names.into_iter().zip([a, b]).zip(shapes) {
            let name = format!("{PREFIX}{}.{name}", module.name);
            let dtype = dtype(&factor)?;
            tensors.push((name, Stored { factor, shape, dtype, failed }));
        }
    }
    Ok(tensors)
}

fn write_weights(lora: &Lora<'_>, path: &Path) -> Result<()> {
    let failed = RefCell::new(None);
    let tensors = tensors(lora, &failed)?;
    let io_error = |e: io::Error| Error::io(path, "write", e);
    let result = safetensors::serialize_to_file(tensors, Some(metadata()), path);
    if let Some(error) = failed.take() {
        return Err(error);
    }
    result.map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => io_error(e),
        other => Error::format(path, other.to_string()),
    })?;
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error)
}

/// The format in the crate's terms; there are some that safetensors does not have.
fn dtype(factor: &Factor<'_>) -> Result<safetensors::Dtype> {
    let name = factor.dtype().name();
    serde_json::from_value(name.into())
        .map_err(|_| factor.error(format!("a PEFT adapter cannot hold {name}; use f32, f16 or bf16")))
}

impl View for Stored<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.factor.encoded().unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            Cow::Owned(Vec::new())
        })
    }

    fn data_len(&self) -> usize {
        self.factor.encoded_len().unwrap_or(0)
    }
}
