//! An adapter opened to be used: where the factors of each of its modules lie.

use crate::adapter::{Adapter, AdapterFormat, Factor, Naming};
use crate::error::{Error, Result};
use crate::jobs::convert::{ConvertOptions, prepare};
use crate::run::monitor::Monitor;
use crate::source::tensor::Expert;
use phlora_core::Dtype;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Options of [`Opened::open`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The base model, a GGUF file or a directory with `config.json`: the adapter gets the names and row orders of its
    /// GGUF file, and is checked against its tensors where it is one. `None`: everything is as in the adapter.
    pub base: Option<PathBuf>,
    /// Whether factors are read into memory where they could stay mapped.
    pub read: bool,
}

/// An adapter with the places of its factors.
#[derive(Debug)]
pub struct Opened {
    adapter: Adapter,
    modules: Vec<OpenedModule>,
}

/// One of its modules: weight += scale · B·A.
#[derive(Debug)]
pub struct OpenedModule {
    /// Name of the weight's tensor, as `blk.0.attn_q.weight`.
    pub weight: String,
    /// Which expert of that tensor, where it is a stack of them.
    pub expert: Option<Expert>,
    /// Whether the weight is a lookup table [vocabulary, dim].
    pub embedding: bool,
    /// [out, in].
    pub shape: [usize; 2],
    /// Columns of B and rows of A.
    pub rank: usize,
    /// What B·A is multiplied by.
    pub scale: f32,
    /// Storage formats of A [rank, in] and B [out, rank].
    pub dtypes: [Dtype; 2],
    factors: [Place; 2],
}

#[derive(Debug)]
enum Place {
    /// A range of the mapped file.
    Mapped(Range<usize>),
    Memory(Box<[u8]>),
}

impl Opened {
    /// Opens an adapter of any format. Factors of a GGUF adapter stay mapped where they are used as they are stored;
    /// the file must not change meanwhile. All others are converted into memory.
    ///
    /// # Errors
    /// As [`Adapter::open`] and [`convert`](crate::convert()); when a factor holds a NaN or an infinity; when the
    /// adapter changes more than factors can.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let adapter = Adapter::open(path)?;
        let modules = modules(&adapter, options)?;
        Ok(Self { adapter, modules })
    }

    /// Its modules, sorted by name.
    pub fn modules(&self) -> &[OpenedModule] {
        &self.modules
    }

    /// The bytes of A and B of one of its modules, row by row.
    pub fn factors<'a>(&'a self, module: &'a OpenedModule) -> [&'a [u8]; 2] {
        module.factors.each_ref().map(|factor| match factor {
            Place::Mapped(range) => self.adapter.mapped_bytes().get(range.clone()).unwrap_or_default(),
            Place::Memory(bytes) => bytes,
        })
    }
}

fn modules(adapter: &Adapter, options: &OpenOptions) -> Result<Vec<OpenedModule>> {
    let lora = if options.base.is_some() {
        let base = options.base.clone();
        let convert = ConvertOptions { base, ..ConvertOptions::new(AdapterFormat::Gguf) };
        prepare(adapter, &convert, &Monitor::default())?.lora
    } else {
        adapter.lora()?
    };
    if let Some(other) = lora.full.first() {
        let problem = format!(
            "it changes {} beside its factors ({} such tensors), which factors cannot represent; merge it into the model instead",
            other.name,
            lora.full.len()
        );
        return Err(Error::format(adapter.path(), problem));
    }
    let mapped: &[u8] = if options.read { &[] } else { adapter.mapped_bytes() };
    let opened = lora.modules.iter().map(|module| {
        // Of a stack of experts the name ends with the number of one.
        let stack = match (lora.naming, module.expert) {
            (Naming::Gguf, Some(_)) => module.name.rsplit_once('.').map_or(&*module.name, |(stack, _)| stack),
            _ => &module.name,
        };
        Ok(OpenedModule {
            weight: format!("{stack}.weight"),
            expert: module.expert,
            embedding: module.embedding,
            shape: module.shape(),
            rank: module.rank(),
            scale: module.scale as f32,
            dtypes: [module.a.dtype(), module.b.dtype()],
            factors: [place(&module.a, mapped)?, place(&module.b, mapped)?],
        })
    });
    opened.collect()
}

/// Where a factor lies, which is checked to be of finite entries.
fn place(factor: &Factor<'_>, mapped: &[u8]) -> Result<Place> {
    factor.decoded()?;
    let bytes = factor.encoded()?;
    let inside = bytes.as_ptr().addr().checked_sub(mapped.as_ptr().addr());
    Ok(match inside {
        Some(start) if start + bytes.len() <= mapped.len() => Place::Mapped(start..start + bytes.len()),
        _ => Place::Memory(bytes.into_owned().into()),
    })
}
