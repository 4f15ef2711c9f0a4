//! Says what a file or directory holds: a model, an adapter, or a report.

use crate::adapter::{Adapter, AdapterFormat, Factor, Naming};
use crate::error::{Error, Result};
use crate::naming::kind::{Kind, kind_of, suffix_of};
use crate::report::Report;
use crate::source::config::Config;
use crate::source::json_file::read_json;
use crate::source::model::{Container, Model};
use crate::source::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a file or directory is, and what is in it.
#[derive(Debug)]
pub enum Contents {
    /// A model's weights.
    Model(Box<ModelFacts>),
    /// A LoRA adapter.
    Adapter(Box<AdapterFacts>),
    /// A report of an extraction.
    Report(Box<Report>),
}

/// Number of tensors and of the entries in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// Tensors.
    pub tensors: usize,
    /// Entries.
    pub parameters: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Facts of a model.
#[derive(Debug)]
#[non_exhaustive]
pub struct ModelFacts {
    /// The format of its files.
    pub container: Container,
    /// What `config.json` says; of a GGUF model, whether its output head is tied.
    pub config: Config,
    /// How its weights are quantised, where they are.
    pub quantization: Option<String>,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Over all tensors.
    pub total: Count,
    /// By dtype.
    pub dtypes: BTreeMap<String, Count>,
    /// By kind.
    pub kinds: BTreeMap<Kind, Count>,
    /// Every tensor.
    pub tensors: Vec<TensorFacts>,
}

/// Facts of one tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its dtype, as its file calls it.
    pub dtype: String,
}

/// Facts of an adapter.
#[derive(Debug)]
#[non_exhaustive]
pub struct AdapterFacts {
    /// Its file format.
    pub format: AdapterFormat,
    /// Whose names its modules have.
    pub naming: Naming,
    /// Whether it is a DoRA adapter, whose change depends on its base.
    pub dora: bool,
    /// `general.architecture` of a GGUF file.
    pub architecture: Option<String>,
    /// What it names as its base.
    pub base_name: Option<String>,
    /// Largest rank of a module.
    pub rank: usize,
    /// The alpha that it states for all modules. In a GGUF file 0 stands for scale 1.
    pub alpha: f64,
    /// Smallest and largest scale over the modules.
    pub scales: (f64, f64),
    /// Modules with factors.
    pub modules: usize,
    /// Over all factors.
    pub total: Count,
    /// Over what it changes beside factors.
    pub full: Count,
    /// By dtype, both together.
    pub dtypes: BTreeMap<String, Count>,
    /// By the last name of the module's path; of one without dots, by what follows its last number.
    pub suffixes: BTreeMap<String, Count>,
    /// Every module with factors.
    pub listed: Vec<AdapterModule>,
}

/// Facts of one module of an adapter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdapterModule {
    /// Its path.
    pub name: String,
    /// [out, in].
    pub shape: [usize; 2],
    /// Its rank.
    pub rank: usize,
    /// What B·A is multiplied by.
    pub scale: f64,
    /// Storage format of `lora_a`.
    pub dtype: String,
}

/// Looks at `path`: a model file or directory, an adapter file or directory, or a report.
///
/// # Errors
/// When it is none of these, or unsound.
///
/// ```no_run
/// use phlora::{Contents, inspect};
/// use std::path::Path;
///
/// if let Contents::Adapter(facts) = inspect(Path::new("adapter"))? {
///     println!("{} modules", facts.modules);
/// }
/// # Ok::<(), phlora::Error>(())
/// ```
pub fn inspect(path: &Path) -> Result<Contents> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if Adapter::is_at(path) {
        return Ok(Contents::Adapter(Box::new(adapter_facts(&Adapter::open(path)?)?)));
    }
    let json = path.extension().is_some_and(|extension| extension == "json");
    if json && !name.ends_with(".index.json") {
        let report = serde_json::from_str(read_json(path)?.text());
        let report = report.map_err(|e| Error::format(path, format!("not a report of phlora: {e}")))?;
        return Ok(Contents::Report(Box::new(report)));
    }
    Ok(Contents::Model(Box::new(model_facts(&Model::open(path)?))))
}

fn model_facts(model: &Model) -> ModelFacts {
    let mut facts = ModelFacts {
        container: model.container().clone(),
        config: model.config().clone(),
        quantization: model.quantization(),
        files: model.files().map(Path::to_owned).collect(),
        total: Count::default(),
        dtypes: BTreeMap::new(),
        kinds: BTreeMap::new(),
        tensors: Vec::new(),
    };
    for (name, tensor) in model.tensors() {
        let count = Count::of(tensor);
        facts.total.add(count);
        facts.dtypes.entry(tensor.dtype_name().to_owned()).or_default().add(count);
        facts.kinds.entry(kind_of(name, tensor.shape())).or_default().add(count);
        facts.tensors.push(TensorFacts {
            name: name.to_owned(),
            shape: tensor.shape().to_vec(),
            dtype: tensor.dtype_name().to_owned(),
        });
    }
    facts
}

fn adapter_facts(adapter: &Adapter) -> Result<AdapterFacts> {
    let lora = adapter.stored()?;
    let mut facts = AdapterFacts {
        format: adapter.format(),
        naming: lora.naming,
        dora: lora.is_dora(),
        architecture: lora.architecture.clone(),
        base_name: lora.base_name.clone(),
        rank: lora.rank(),
        alpha: adapter.alpha(),
        scales: (f64::INFINITY, f64::NEG_INFINITY),
        modules: lora.modules.len(),
        total: Count::default(),
        full: Count::default(),
        dtypes: BTreeMap::new(),
        suffixes: BTreeMap::new(),
        listed: Vec::new(),
    };
    for module in &lora.modules {
        let dtype = if module.a.codes().is_some() { "compact" } else { module.a.dtype().name() };
        facts.listed.push(AdapterModule {
            name: module.name.to_string(),
            shape: module.shape(),
            rank: module.rank(),
            scale: module.scale,
            dtype: dtype.to_owned(),
        });
        facts.scales = (facts.scales.0.min(module.scale), facts.scales.1.max(module.scale));
        for factor in [&module.a, &module.b].into_iter().chain(module.magnitude.as_deref()) {
            let count = Count::of_factor(factor);
            facts.total.add(count);
            let dtype = if factor.codes().is_some() { "compact" } else { factor.dtype().name() };
            facts.dtypes.entry(dtype.to_owned()).or_default().add(count);
            facts.suffixes.entry(suffix(&module.name).to_owned()).or_default().add(count);
        }
    }
    for tensor in &lora.full {
        let count = Count::of_factor(&tensor.values);
        facts.full.add(count);
        facts.dtypes.entry(tensor.values.dtype().name().to_owned()).or_default().add(count);
    }
    Ok(facts)
}

fn suffix(module: &str) -> &str {
    let number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    match module.rmatch_indices('_').find_map(|(at, _)| {
        let before = module[..at].rsplit('_').next().unwrap_or_default();
        number(before).then_some(&module[at + 1..])
    }) {
        Some(rest) if !module.contains('.') => rest,
        _ => suffix_of(module),
    }
}

impl Count {
    fn of(tensor: Tensor<'_>) -> Self {
        // All experts are one tensor in the file.
        let first = tensor.expert().is_none_or(|expert| expert.index == 0);
        Self {
            tensors: usize::from(first),
            parameters: tensor.len() as u64,
            bytes: tensor.stored_len() as u64,
        }
    }

    fn of_factor(factor: &Factor<'_>) -> Self {
        let bytes = factor.stored_len() as u64;
        Self { tensors: 1, parameters: factor.entries() as u64, bytes }
    }

    fn add(&mut self, other: Self) {
        self.tensors += other.tensors;
        // A dtype that nobody knows may come with any shape.
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.bytes += other.bytes;
    }
}
