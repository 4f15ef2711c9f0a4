//! Reads a PEFT adapter directory: which modules it has factors for, and at which scale.

use super::config::AdapterConfig;
use super::target::{MAX_EXPERTS, OUT_TIMES, parameter_at, projection_at};
use super::{CONFIG, PREFIX, WEIGHTS};
use crate::adapter::products::{Product, split};
use crate::adapter::stored::{matrix, pair};
use crate::adapter::{Lora, LoraModule, Naming, OUT_PROJ, Spelling, Target};
use crate::error::{Error, Result};
use crate::naming::kind::module_of;
use crate::naming::spelling::{KEY, from_metadata};
use crate::source::locate::{absent, named_as_pickle};
use crate::source::mapped::Mapped;
use crate::source::model::Model;
use crate::source::safetensors::metadata_where;
use crate::source::tensor::{Expert, Tensor};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An adapter directory, its factors mapped.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) config: AdapterConfig,
    pub(crate) weights: Model,
    /// Names of modules in the file that stand for others.
    paths: BTreeMap<String, String>,
    /// What else the file says of itself.
    metadata: BTreeMap<String, String>,
}

/// What PEFT puts after a module's path: of a linear module, or of an embedding.
const SUFFIXES: [(&str, Role); 4] = [
    (".lora_A.weight", Role { is_a: true, embedding: false }),
    (".lora_B.weight", Role { is_a: false, embedding: false }),
    (".lora_embedding_A", Role { is_a: true, embedding: true }),
    (".lora_embedding_B", Role { is_a: false, embedding: true }),
];

/// What PEFT calls an adapter that was given no name.
const UNNAMED: &str = "default";

/// `path` without the name of the adapter in memory, which it contains where a state dict was saved by hand: PEFT (0.21) reads
/// it for an adapter called `default`.
pub(crate) fn without_adapter(path: &str) -> Cow<'_, str> {
    let plain = path.rsplit_once(".lora_").and_then(|(module, rest)| {
        let (factor, rest) = rest.split_once('.')?;
        let rest = rest.strip_prefix(UNNAMED).filter(|rest| rest.is_empty() || rest.starts_with('.'))?;
        // Of the magnitudes the name in the file has no more.
        let rest = if factor == "magnitude_vector" { "" } else { rest };
        Some(format!("{module}.lora_{factor}{rest}"))
    });
    plain.map_or(Cow::Borrowed(path), Cow::Owned)
}

/// What DoRA adds to a pair.
const MAGNITUDE: &str = ".lora_magnitude_vector";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Role {
    is_a: bool,
    embedding: bool,
}

/// Why `path`, beside which there is no `config`, does not do.
fn not_an_adapter(path: &Path, config: &Path, weights: &Path) -> Error {
    if path.exists() && (path != weights || !weights.ends_with(WEIGHTS)) && Model::open(path).is_ok() {
        let problem = "a model, not an adapter; `phlora extract` makes one of a base and a fine-tuned model";
        return Error::format(path, problem);
    }
    if weights.exists() {
        return Error::format(
            config,
            "it is missing, and without it rank and scale are not known; copy it as well",
        );
    }
    if !path.exists() {
        return Error::io(path, "open", absent(path));
    }
    Error::format(
        path,
        "no adapter: expected adapter_config.json and adapter_model.safetensors, or a GGUF, kohya or ComfyUI file",
    )
}

/// `modules` with DoRA's magnitudes, which each must have.
fn rescaled<'a>(
    modules: Vec<LoraModule<'a>>,
    mut magnitudes: BTreeMap<String, Tensor<'a>>,
) -> Result<Vec<LoraModule<'a>>> {
    let with = |module: LoraModule<'a>| {
        let Some(own) = magnitudes.remove(module.name.as_ref()) else {
            let problem = format!("its lora_magnitude_vector is missing: {CONFIG} says use_dora");
            return Err(module.a.error(problem));
        };
        module.with_magnitudes(own)
    };
    let modules = modules.into_iter().map(with).collect::<Result<Vec<_>>>()?;
    magnitudes
        .into_values()
        .next()
        .map_or(Ok(modules), |alone| Err(alone.error("its lora_A and lora_B are missing")))
}

impl Directory {
    /// Opens an adapter directory, or one of the two files in it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let directory = if path.is_dir() { path } else { crate::run::staging::parent(path) };
        let config = directory.join(CONFIG);
        let mut weights = if path.is_dir() { directory.join(WEIGHTS) } else { path.to_owned() };
        if weights.file_name().is_some_and(|name| name == CONFIG) {
            weights = directory.join(WEIGHTS);
        }
        let pickle = directory.join("adapter_model.bin");
        if !weights.exists() && pickle.exists() {
            return Err(named_as_pickle(&pickle));
        }
        if !config.exists() {
            return Err(not_an_adapter(path, &config, &weights));
        }
        let config = AdapterConfig::read(&config)?;
        let opened = Model::open(&weights)?;
        let mapped = Mapped::open(&weights)?;
        let mut texts = metadata_where(&weights, mapped.bytes(), |key| key != "format")?;
        let paths = from_metadata(&weights, &texts)?;
        texts.remove(KEY);
        Ok(Self { config, weights: opened, paths, metadata: texts })
    }

    /// What it holds, modules sorted by name; complete pairs of the rank that the configuration says, or an error.
    pub(crate) fn lora(&self) -> Result<Lora<'_>> {
        let mut pairs = BTreeMap::<(Cow<'_, str>, bool), [Option<Tensor<'_>>; 2]>::new();
        let (mut full, mut products) = (Vec::new(), BTreeMap::<String, Product<'_>>::new());
        let mut magnitudes = BTreeMap::<String, Tensor<'_>>::new();
        for (_, tensor) in self.weights.tensors() {
            let path = tensor.stored_name().strip_prefix(PREFIX);
            let Some(path) = path else { return Err(super::full::unexpected(&tensor)) };
            let path = without_adapter(path);
            let path = match path {
                Cow::Borrowed(path) => self.in_memory(path),
                Cow::Owned(path) => Cow::Owned(self.in_memory(&path).into_owned()),
            };
            if let Some((module, factor)) = split(&path) {
                products.entry(module.to_owned()).or_default().take(factor, tensor)?;
                continue;
            }
            if let Some(module) = path.strip_suffix(MAGNITUDE).filter(|_| self.config.is_dora()) {
                magnitudes.insert(module.to_owned(), tensor);
                continue;
            }
            let role = |(suffix, role): &(&str, Role)| Some((path.strip_suffix(suffix)?.len(), *role));
            let Some((length, role)) = SUFFIXES.iter().find_map(role) else {
                full.extend(super::full::read(&path, tensor, &self.config)?);
                continue;
            };
            let module = match path {
                Cow::Borrowed(path) => Cow::Borrowed(&path[..length]),
                Cow::Owned(path) => Cow::Owned(path[..length].to_owned()),
            };
            pairs.entry((module, role.embedding)).or_default()[usize::from(!role.is_a)] = Some(tensor);
        }
        let mut modules = Vec::new();
        let paths: BTreeSet<_> =
            pairs.keys().filter(|(_, embedding)| !embedding).map(|(path, _)| path.clone()).collect();
        let is_module =
            |path: &str| paths.contains(path) && parameter_at(path, &self.config.parameters).is_none();
        for ((path, embedding), pair) in pairs {
            let (a, b) = match pair {
                [Some(a), Some(b)] => (a, b),
                [Some(alone), None] => return Err(alone.error("its lora_B is missing")),
                [None, Some(alone)] => return Err(alone.error("its lora_A is missing")),
                [None, None] => continue,
            };
            match parameter_at(&path, &self.config.parameters) {
                Some(key) if !embedding => self.parameter(&key, a, b, &mut modules)?,
                _ => match projection_at(&path, is_module).filter(|_| !embedding) {
                    Some(name) => modules.push(self.projection(name, a, b)?),
                    None => modules.push(self.module(path, embedding, a, b)?),
                },
            }
        }
        for (path, product) in products {
            let (_, scale) = self.config.rank_and_scale(&path);
            modules.push(product.module(path, scale)?);
        }
        if self.config.is_dora() {
            modules = rescaled(modules, magnitudes)?;
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        if modules.is_empty() {
            return Err(Error::format(self.weights.path(), "it holds no LoRA factors"));
        }
        Ok(Lora {
            modules,
            full,
            naming: Naming::HuggingFace,
            base_name: self.config.base_name.clone(),
            architecture: None,
            task: self.config.task.clone(),
            class: self.config.class.clone(),
            targets: self.config.targets.clone(),
            fan_in_fan_out: self.config.fan_in_fan_out,
            spelling: Spelling::of_paths(&self.paths),
            metadata: self.metadata.clone(),
        })
    }

    /// `path` with the name in memory of its module.
    fn in_memory<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let Some((module, _)) = path.split_once(".lora_") else { return Cow::Borrowed(path) };
        match self.paths.get(module) {
            Some(memory) => Cow::Owned(format!("{memory}{}", &path[module.len()..])),
            None => Cow::Borrowed(path),
        }
    }

    fn module<'a>(
        &self,
        name: Cow<'a, str>,
        embedding: bool,
        a: Tensor<'a>,
        b: Tensor<'a>,
    ) -> Result<LoraModule<'a>> {
        let (rank, scale) = self.config.rank_and_scale(&name);
        let (mut a, mut b, kernel) = pair(a, b, Some((rank, CONFIG)))?;
        if embedding {
            if !kernel.is_empty() {
                return Err(a.error("a lookup table has no kernel"));
            }
            // PEFT adds (B·A)ᵀ to a lookup table.
            std::mem::swap(&mut a, &mut b);
            a.transpose();
            b.transpose();
        }
        Ok(LoraModule { scale, embedding, kernel, ..LoraModule::new(name, a, b) })
    }

    /// The factors of the projection `name` of a multi-head attention, whose path decides rank and scale.
    fn projection<'a>(&self, name: String, a: Tensor<'a>, b: Tensor<'a>) -> Result<LoraModule<'a>> {
        let (rank, scale) = self.config.rank_and_scale(module_of(&name));
        let scale = if name.ends_with(OUT_PROJ) { scale * OUT_TIMES } else { scale };
        let (a, b, _) = pair(a, b, Some((rank, CONFIG)))?;
        Ok(LoraModule { scale, target: Target::Attention, ..LoraModule::new(name, a, b) })
    }

    /// Takes the factors of the parameter `key`: of a matrix, or of every expert of a stack.
    fn parameter<'a>(
        &self,
        key: &str,
        a: Tensor<'a>,
        b: Tensor<'a>,
        modules: &mut Vec<LoraModule<'a>>,
    ) -> Result<()> {
        let (rank, scale) = self.config.rank_and_scale(key);
        let (module, is_weight) = match key.strip_suffix(".weight") {
            Some(module) => (module, true),
            None => (key, false),
        };
        if is_weight {
            let (a, b, _) = pair(a, b, Some((rank, CONFIG)))?;
            modules.push(LoraModule {
                scale,
                target: Target::Weight,
                ..LoraModule::new(module.to_owned(), a, b)
            });
            return Ok(());
        }
        let (matrix_a, matrix_b) = (matrix(a)?, matrix(b)?);
        let ([all, _], [_, columns]) = (matrix_a.shape(), matrix_b.shape());
        let count = all.checked_div(rank).filter(|count| count * rank == all && all == columns);
        if count == Some(1) {
            let module = LoraModule::new(module.to_owned(), matrix_a, matrix_b);
            modules.push(LoraModule { scale, target: Target::Parameter, ..module });
            return Ok(());
        }
        let count = count.filter(|count| (1..=MAX_EXPERTS).contains(count)).ok_or_else(|| {
            a.error(format!(
                "the stack {key} has {all} rows here and {columns} columns in its lora_B, expected the same multiple \
                 of its rank {rank} by {CONFIG}, of at most {MAX_EXPERTS} experts"
            ))
        })?;
        for index in 0..count {
            let (a, b) = (matrix_a.row_range(index * rank, rank)?, matrix_b.strided_columns(index, count)?);
            let expert = Some(Expert { index, count });
            let module = LoraModule::new(format!("{module}.{index}"), a, b);
            modules.push(LoraModule { scale, expert, target: Target::Parameter, ..module });
        }
        Ok(())
    }
}
