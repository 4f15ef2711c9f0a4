//! Reads the file.

use super::unpack::unpack;
use super::{ADAPTER_KEY, LEVELS, VERSION, VERSION_KEY};
use crate::adapter::packed::{ALIGNMENT, HEADER, Packed, codes_len};
use crate::adapter::stored::matrix_shape;
use crate::adapter::{Effect, Factor, FullTensor, Lora, LoraModule, Naming, Spelling, Target};
use crate::error::{Error, Reason, Result};
use crate::source::mapped::Mapped;
use crate::source::safetensors::{metadata, parse};
use crate::source::stored::Stored;
use crate::source::tensor::Expert;
use phlora_core::quantized::compact::MAX_BITS;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest header that is looked at to know whether a file is one of these.
const MAX_PEEKED: u64 = 100_000_000;

/// An adapter in the compact form, decoded.
#[derive(Debug)]
pub(crate) struct CompactFile {
    path: PathBuf,
    lora: Lora<'static>,
}

/// What the metadata say beside the factors.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct About {
    naming: Option<String>,
    base: Option<String>,
    architecture: Option<String>,
    task: Option<String>,
    class: Option<String>,
    targets: Option<Vec<String>>,
    fan_in_fan_out: bool,
    paths: BTreeMap<String, String>,
    modules: BTreeMap<String, Unusual>,
    full: BTreeMap<String, Beside>,
}

/// What a module is beside a linear one of scale 1.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Unusual {
    scale: Option<f64>,
    kernel: Vec<usize>,
    expert: Option<[usize; 2]>,
    embedding: bool,
    target: Option<String>,
}

/// What a tensor beside the factors does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Beside {
    adds: Option<f64>,
    rows: Option<Vec<usize>>,
    whole: Option<String>,
}

/// Whether `path` is a safetensors file that says it is one of these.
pub(crate) fn is_compact_file(path: &Path) -> bool {
    let peek = || {
        let mapped = path.is_file().then(|| Mapped::open(path).ok())??;
        let length = u64::from_le_bytes(*mapped.bytes().first_chunk()?);
        let is = length <= MAX_PEEKED
            && metadata(path, mapped.bytes(), &[VERSION_KEY]).ok()?.contains_key(VERSION_KEY);
        Some(is)
    };
    peek().unwrap_or(false)
}

impl CompactFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mapped = Mapped::open(path)?;
        let bytes = mapped.bytes();
        let mut texts = metadata(path, bytes, &[VERSION_KEY, ADAPTER_KEY])?;
        let version = texts.remove(VERSION_KEY).unwrap_or_default();
        if version != VERSION {
            let problem = format!("version {version} of the compact form is not read, expected {VERSION}");
            return Err(Error::format(path, problem));
        }
        let about = texts.remove(ADAPTER_KEY).unwrap_or_else(|| "{}".to_owned());
        let about: About = serde_json::from_str(&about)
            .map_err(|e| Error::format(path, format!("its metadata {ADAPTER_KEY} are not valid: {e}")))?;
        let tensors = parse(path, bytes, bytes.len())?;
        let data = |tensor: &Stored| &bytes[tensor.range.clone()];
        let levels = tensors
            .iter()
            .find(|tensor| tensor.name == LEVELS)
            .map(data)
            .ok_or_else(|| Error::format(path, format!("the tensor {LEVELS} is missing")))?;
        let (mut modules, mut full, mut about) = (Vec::new(), Vec::new(), about);
        for tensor in tensors.iter().filter(|tensor| tensor.name != LEVELS) {
            let refused = |problem: String| Error::tensor(path, &tensor.name, problem);
            let found = if let Some(beside) = about.full.remove(&tensor.name) {
                beside.tensor(tensor, data(tensor)).map(|tensor| full.push(tensor))
            } else {
                let unusual = about.modules.remove(&tensor.name).unwrap_or_default();
                let module = module(&tensor.name, data(tensor), levels, unusual);
                module.map(|module| modules.push(module))
            };
            found.map_err(|error| match error {
                error if error.reason() == Some(Reason::NoMemory) => error,
                Error::Usage { problem, .. } => refused(problem),
                other => other,
            })?;
        }
        if let Some(name) = about.modules.keys().chain(about.full.keys()).next() {
            return Err(Error::format(
                path,
                format!("its metadata name {name}, but it has no tensor of that name"),
            ));
        }
        if modules.is_empty() {
            return Err(Error::format(path, "it holds no LoRA factors"));
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let naming = match about.naming.as_deref() {
            None => Naming::HuggingFace,
            Some("gguf") => Naming::Gguf,
            Some(other) => return Err(Error::format(path, format!("names of kind {other} are not known"))),
        };
        let lora = Lora {
            modules,
            full,
            naming,
            base_name: about.base,
            architecture: about.architecture,
            task: about.task,
            class: about.class,
            targets: about.targets,
            fan_in_fan_out: about.fan_in_fan_out,
            spelling: Spelling::of_paths(&about.paths),
            metadata: BTreeMap::new(),
        };
        Ok(Self { path: path.to_owned(), lora })
    }

    pub(crate) fn naming(&self) -> Naming {
        self.lora.naming
    }

    /// What it holds, modules sorted by name.
    pub(crate) fn lora(&self) -> Lora<'_> {
        let modules = self.lora.modules.iter().map(|module| LoraModule {
            a: module.a.view().read_from(&self.path, &module.name),
            b: module.b.view().read_from(&self.path, &module.name),
            name: Cow::Borrowed(&module.name),
            kernel: module.kernel.clone(),
            scale: module.scale,
            expert: module.expert,
            target: module.target,
            embedding: module.embedding,
            magnitude: None,
        });
        Lora {
            modules: modules.collect(),
            full: self.lora.full.iter().map(FullTensor::view).collect(),
            naming: self.lora.naming,
            base_name: self.lora.base_name.clone(),
            architecture: self.lora.architecture.clone(),
            task: self.lora.task.clone(),
            class: self.lora.class.clone(),
            targets: self.lora.targets.clone(),
            fan_in_fan_out: self.lora.fan_in_fan_out,
            spelling: self.lora.spelling.clone(),
            metadata: BTreeMap::new(),
        }
    }
}

/// The module of a tensor: its sizes, scales, bits and codes, one after the other.
fn module(name: &str, bytes: &[u8], levels: &[u8], about: Unusual) -> Result<LoraModule<'static>> {
    let short = || Error::usage(format!("{} bytes are too few for its directions", bytes.len()));
    let mut rest = bytes;
    let mut take = |count: Option<usize>| -> Result<&[u8]> {
        let (taken, after) = count.and_then(|count| rest.split_at_checked(count)).ok_or_else(short)?;
        rest = after;
        Ok(taken)
    };
    let sizes = take(Some(HEADER))?.as_chunks().0.iter().map(|&size| u32::from_le_bytes(size) as usize);
    let &[out, input, rank] = sizes.collect::<Vec<_>>().as_slice() else { return Err(short()) };
    if out == 0 || input == 0 || rank == 0 {
        return Err(Error::usage(format!("a weight of {out} × {input} at rank {rank} makes no adapter")));
    }
    let scales = take(rank.checked_mul(2))?.to_vec();
    let bits = take(Some(rank))?.to_vec();
    if let Some(wrong) = bits.iter().find(|&&bits| !(1..=MAX_BITS).contains(&bits.into())) {
        return Err(Error::usage(format!("a direction of {wrong} bits, expected 1 to {MAX_BITS}")));
    }
    let a = take(codes_len(&bits, input))?.to_vec();
    let b = take(codes_len(&bits, out))?.to_vec();
    if rest.len() >= ALIGNMENT || rest.iter().any(|&byte| byte != 0) {
        return Err(Error::usage(format!("{} bytes after its directions", rest.len())));
    }
    let (a, b) = unpack(Packed { bits, scales, a, b }, [out, input], Some(levels))?;
    let target = match about.target.as_deref() {
        None => Target::Module,
        Some("weight") => Target::Weight,
        Some("attention") => Target::Attention,
        Some("parameter") => Target::Parameter,
        Some(other) => return Err(Error::usage(format!("its target {other} is not known"))),
    };
    Ok(LoraModule {
        scale: about.scale.unwrap_or(1.0),
        kernel: about.kernel,
        expert: about.expert.map(|[index, count]| Expert { index, count }),
        embedding: about.embedding,
        target,
        ..LoraModule::new(name.to_owned(), a, b)
    })
}

impl Beside {
    fn tensor(self, tensor: &Stored, bytes: &[u8]) -> Result<FullTensor<'static>> {
        let dtype = tensor
            .dtype
            .ok_or_else(|| Error::usage(format!("its dtype {} is not read", tensor.dtype_name)))?;
        let values = Factor::new(dtype, matrix_shape(&tensor.shape), bytes.to_vec())?;
        let effect = match (self.adds, self.rows) {
            (Some(scale), _) => Effect::Adds(scale),
            (None, Some(rows)) => Effect::Rows(rows),
            (None, None) => Effect::Replaces,
        };
        let (name, shape) = (tensor.name.clone().into(), tensor.shape.clone());
        Ok(FullTensor { name, shape, values, effect, whole: self.whole })
    }
}
