//! Writes an adapter in another file format, storage format or both.

use crate::adapter::single::{Places, Style};
use crate::adapter::targets::targets;
use crate::adapter::{Adapter, AdapterFormat, Lora, Naming, Target, View, write_gguf};
use crate::error::{Error, Reason, Result};
use crate::naming::arch::NameMap;
use crate::naming::memory::Layout;
use crate::pairing::aligned::Names;
use crate::run::monitor::Monitor;
use crate::source::attention::Heads;
use crate::source::config::Config;
use crate::source::model::{Container, Model};
use phlora_core::Dtype;
use phlora_core::policy::factor_dtype;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of [`convert`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// File format to write.
    pub format: AdapterFormat,
    /// Storage format of the factors; `None`: as they are, or f32 where the file format does not have it.
    pub dtype: Option<Dtype>,
    /// The base model: a GGUF file, against whose tensors the adapter is then checked, or a directory with
    /// `config.json`. What the adapter names as its base is never opened: whoever made the file chose that path.
    pub base: Option<PathBuf>,
    /// `model_type` or GGUF's architecture, where no base says it.
    pub architecture: Option<String>,
    /// Attention heads, where no base says them.
    pub heads: Option<Heads>,
    /// Whose names a PEFT adapter gets; `None`: those that it has, else those in memory.
    pub names: Option<Names>,
    /// What single files have before the paths of the base's modules, where its names and configuration do not tell.
    pub prefix: Option<String>,
    /// Whether an adapter that is there already is replaced.
    pub force: bool,
}

impl ConvertOptions {
    /// To `format`, the base being what the adapter names, and all else as it is.
    pub fn new(format: AdapterFormat) -> Self {
        Self {
            format,
            dtype: None,
            base: None,
            architecture: None,
            heads: None,
            names: None,
            prefix: None,
            force: false,
        }
    }
}

/// What [`convert`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// Modules with factors.
    pub modules: usize,
    /// Largest rank of them.
    pub rank: usize,
    /// Factors in f16 since their rows do not go into the blocks of the format that was asked for.
    pub not_in_blocks: usize,
    /// Modules into whose `lora_b` a scale was multiplied.
    pub folded: usize,
    /// Bytes of the files.
    pub bytes: u64,
}

/// Writes `adapter` to `path`, which appears by a rename when all is complete.
///
/// Between formats, modules are renamed and rows reordered as the conversion of the base does it; where neither
/// changes and the storage format stays, the factors stay the same to the bit. PEFT's scales (alpha over rank, or its
/// root with rslora, and their patterns) become part of `lora_b` in a GGUF adapter; exactly where they are powers of
/// two.
///
/// # Errors
/// When a factor holds a NaN or an infinity or does not fit into its new format, a module has no known name in the
/// other format, or the base (a GGUF file) has no tensor of its name and shape; when the output exists and may not
/// be replaced; [`Error::Cancelled`]. Nothing is left behind.
pub fn convert(
    adapter: &Adapter,
    path: &Path,
    options: &ConvertOptions,
    monitor: &Monitor,
) -> Result<Converted> {
    monitor.begin_writing()?;
    options.format.probe(path, options.force)?;
    let (lora, not_in_blocks) = prepare(adapter, options, monitor)?;
    let gguf = options.format == AdapterFormat::Gguf;
    let folded = lora.modules.iter().filter(|module| gguf && module.scale != 1.0).count();
    let bytes = lora.save(path, options.format, options.force, monitor)?;
    Ok(Converted { modules: lora.modules.len(), rank: lora.rank(), not_in_blocks, folded, bytes })
}

/// As [`convert`] to GGUF, but to `out`; gives the number of bytes.
///
/// # Errors
/// As [`convert`], and what `out` refuses.
pub fn convert_to_gguf(
    adapter: &Adapter,
    options: &ConvertOptions,
    out: &mut impl Write,
    monitor: &Monitor,
) -> Result<u64> {
    let options = ConvertOptions { format: AdapterFormat::Gguf, ..options.clone() };
    let (lora, _) = prepare(adapter, &options, monitor)?;
    write_gguf(&lora, out)
}

/// The adapter as it is to be written, and the number of factors in f16 since blocks do not fit.
pub(crate) fn prepare<'a>(
    adapter: &'a Adapter,
    options: &ConvertOptions,
    monitor: &Monitor,
) -> Result<(Lora<'a>, usize)> {
    let mut lora = adapter.lora()?;
    let all = || {
        let factors = lora.modules.iter().flat_map(|module| [&module.a, &module.b]);
        factors.chain(lora.full.iter().map(|tensor| &tensor.values))
    };
    monitor.correct_total(0, all().map(|values| values.stored_len() as u64).sum());
    for values in all() {
        values.decoded()?;
        monitor.add_done(values.stored_len() as u64);
        monitor.check()?;
    }
    let base = Base::open(&lora, options)?;
    lora = match (options.format, options.format.style()) {
        (_, Some(_)) if adapter.format() == options.format => lora,
        (_, Some(style)) => base.to_single(lora, style)?,
        (AdapterFormat::Gguf, _) => base.to_gguf(lora)?,
        _ => base.to_peft(lora, options.names)?,
    };
    let mut not_in_blocks = 0;
    for module in &mut lora.modules {
        let rank = module.rank();
        for factor in [&mut module.a, &mut module.b] {
            let wanted = options.dtype.unwrap_or_else(|| kept(options.format, factor.dtype()));
            options.format.check(wanted)?;
            // Those of a lookup table are written transposed.
            let cols = if module.embedding { rank } else { factor.shape()[1] };
            let dtype = factor_dtype(wanted, cols);
            not_in_blocks += usize::from(dtype != wanted);
            factor.set_dtype(dtype);
        }
    }
    Ok((lora, not_in_blocks))
}

/// The storage format that loses nothing.
fn kept(format: AdapterFormat, dtype: Dtype) -> Dtype {
    if format.check(dtype).is_ok() { dtype } else { Dtype::F32 }
}

/// What is known of the base.
struct Base {
    /// Its tensors, where there are any here.
    model: Option<Model>,
    architecture: Option<String>,
    /// Its configuration, where there is one here.
    config: Option<Config>,
    heads: Option<Heads>,
    experts: usize,
    /// As in [`ConvertOptions`].
    prefix: Option<String>,
    /// What the adapter names as its base.
    named: Option<String>,
}

impl Base {
    fn open(lora: &Lora<'_>, options: &ConvertOptions) -> Result<Self> {
        let mut base = Self {
            model: None,
            architecture: None,
            config: None,
            heads: None,
            experts: 0,
            prefix: None,
            named: lora.base_name.clone(),
        };
        if let Some(path) = &options.base {
            base.read(path)?;
        }
        if lora.naming == Naming::Gguf {
            base.architecture.clone_from(&lora.architecture);
        }
        // What was said explicitly counts.
        base.architecture = options.architecture.clone().or(base.architecture);
        base.heads = options.heads.or(base.heads);
        base.prefix.clone_from(&options.prefix);
        Ok(base)
    }

    /// Takes the facts of the model at `path`; its weights need not be there where its configuration is.
    fn read(&mut self, path: &Path) -> Result<()> {
        let mut config = if path.is_dir() { Config::read(path)? } else { Config::default() };
        match Model::open(path) {
            Ok(model) => {
                config = model.config().clone();
                if let Container::Gguf { architecture, .. } = model.container() {
                    self.architecture.clone_from(architecture);
                }
                self.model = Some(model);
            }
            Err(error) if config.model_type.is_none() => return Err(error),
            Err(_) => {}
        }
        self.architecture = self.architecture.take().or(config.model_type.clone());
        self.config = Some(config.clone());
        self.heads = config.heads;
        self.experts = config.experts.unwrap_or(0);
        Ok(())
    }

    fn names(&self) -> Result<NameMap> {
        let architecture = self.architecture.as_deref().ok_or_else(|| {
            let named = self.named.as_deref().filter(|named| !named.is_empty());
            let named =
                named.map_or(String::new(), |named| format!(", and its adapter names {named} as its base"));
            let problem = format!("the architecture of the base is not known{named}");
            Error::usage(problem).because(Reason::NoArchitecture)
        })?;
        let names = NameMap::new(architecture, self.heads)?;
        let hugging_face = self.model.as_ref().filter(|model| *model.container() == Container::Safetensors);
        Ok(match hugging_face {
            Some(model) => names.with_names(model.tensors().map(|(name, _)| name)),
            None => names,
        })
    }

    fn gguf(&self) -> Option<&Model> {
        self.model.as_ref().filter(|model| matches!(model.container(), Container::Gguf { .. }))
    }

    /// What single files call the base's modules; `diffusion` says that it may be a diffusion model alone.
    fn places(&self, diffusion: bool) -> Result<Places> {
        match (&self.prefix, &self.model) {
            (Some(prefix), _) => Ok(Places::whole(prefix)),
            (None, Some(model)) => Ok(Places::of(model)),
            (None, None) if diffusion => Ok(Places::diffusion()),
            (None, None) => {
                let problem =
                    "what single files call the modules of the base is not known without it or a prefix";
                Err(Error::usage(problem.into()).because(Reason::NoBaseOrPrefix))
            }
        }
    }

    /// `lora` under the base's names, where it has those of a single file.
    fn resolved<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        if lora.naming != Naming::Single {
            return Ok(lora);
        }
        let places = self.places(true)?;
        let Some(base) = &self.model else { return places.undotted(lora) };
        let naming = if base.is_gguf() { Naming::Gguf } else { Naming::HuggingFace };
        let names = base.tensors().map(|(name, _)| name);
        let lora = places.resolve(lora, names, naming, base.path())?;
        for module in &lora.modules {
            let (weight, shape) = (format!("{}.weight", module.name), module.weight_shape());
            if let Some(tensor) = base.tensor(&weight).filter(|tensor| tensor.shape() != shape) {
                let (file, found) = (tensor.file().display(), tensor.shape());
                let problem = format!(
                    "its pair changes a weight of shape {shape:?}, but {weight} in {file} has {found:?}"
                );
                return Err(module.a.error(problem));
            }
        }
        Ok(lora)
    }

    fn to_single<'a>(&self, lora: Lora<'a>, style: Style) -> Result<Lora<'a>> {
        let single = lora.naming == Naming::Single;
        let lora = self.resolved(lora)?;
        let lora = if lora.naming == Naming::Gguf { self.checkpoint_names(lora)? } else { lora };
        self.places(single)?.to_single(lora, style)
    }

    fn to_gguf<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        let lora = self.resolved(lora)?;
        let mut lora = match lora.naming {
            Naming::HuggingFace => {
                let experts = self.gguf().and_then(|model| {
                    let counts = model.tensors().filter_map(|(_, tensor)| Some(tensor.expert()?.count));
                    counts.max()
                });
                lora.into_gguf_of(&self.names()?, experts.unwrap_or(self.experts))?
            }
            _ => lora,
        };
        let Some(base) = self.gguf() else { return Ok(lora) };
        for module in &mut lora.modules {
            let weight = format!("{}.weight", module.name);
            let Some(tensor) = base.tensor(&weight) else {
                let file = base.path().display();
                let tied =
                    if weight == "output.weight" { ", its output head is tied to the embedding" } else { "" };
                return Err(module.a.error(format!("the base {file} has no tensor {weight}{tied}")));
            };
            if tensor.shape() != module.weight_shape() {
                let (found, shape) = (tensor.shape(), module.weight_shape());
                return Err(
                    tensor.error(format!("its shape is {found:?}, the adapter's factors give {shape:?}"))
                );
            }
        }
        Ok(lora)
    }

    /// `lora` under the names of PEFT's format: those in memory, or those of the checkpoint.
    fn to_peft<'a>(&self, lora: Lora<'a>, names: Option<Names>) -> Result<Lora<'a>> {
        let kept = lora.naming == Naming::HuggingFace && names.is_none();
        let lora = self.checkpoint_names(lora)?;
        if kept {
            return Ok(lora);
        }
        let layout = self.layout();
        let mut lora = match (names.unwrap_or_default(), &layout) {
            (_, None) => lora,
            (Names::Memory, Some(layout)) => lora.into_memory(layout)?,
            (Names::Checkpoint, Some(layout)) => lora.into_checkpoint(layout)?,
        };
        let Some(model) = self.model.as_ref().filter(|_| self.gguf().is_none()) else { return Ok(lora) };
        let view = View::new(model);
        for module in &lora.modules {
            let weight = format!("{}.weight", module.name);
            if view.of_module(module).is_none() && model.tensor(&weight).is_none() {
                let base = model.path().display();
                return Err(module.a.error(format!("the base {base} has no tensor {weight}")));
            }
        }
        let modules = lora.modules.iter().filter(|module| module.target == Target::Module);
        let modules: BTreeSet<_> = modules.map(|module| module.name.as_ref()).collect();
        lora.targets = Some(match names.unwrap_or_default() {
            Names::Memory => targets(
                &modules,
                view.weights().map(|(name, _)| name).chain(layout.iter().flat_map(Layout::hidden)),
            ),
            Names::Checkpoint => targets(&modules, model.tensors().map(|(name, _)| name)),
        });
        Ok(lora)
    }

    fn checkpoint_names<'a>(&self, lora: Lora<'a>) -> Result<Lora<'a>> {
        let lora = self.resolved(lora)?;
        if lora.naming == Naming::Gguf { lora.to_hugging_face(&self.names()?) } else { Ok(lora) }
    }

    /// How the base is in memory, where that is known.
    fn layout(&self) -> Option<Layout> {
        let own = self.model.as_ref().and_then(Layout::of_model);
        let own = own.or_else(|| Layout::of(self.config.as_ref()?, &std::iter::empty()));
        own.or_else(|| Layout::of_gguf(&self.names().ok()?))
    }
}
