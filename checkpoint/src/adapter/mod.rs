//! A LoRA adapter in memory, whatever file it came from or goes to.
//!
//! A module's weight W [out, in] becomes W + scale·B·A, with `lora_a` A [rank, in] and `lora_b` B [out, rank], for
//! every kind of module: what a format flips, transposes or stacks otherwise is turned where that format is read
//! or written.

pub(crate) mod compact;
mod decomposed;
pub(crate) mod dora;
mod encode;
mod factor;
mod format;
mod full;
pub(crate) mod gguf;
mod memory;
pub(crate) mod mlx;
mod open;
pub(crate) mod packed;
pub(crate) mod peft;
pub(crate) mod products;
pub(crate) mod provenance;
mod rename;
mod save;
pub(crate) mod single;
pub(crate) mod stored;
pub(crate) mod targets;
mod values;
mod view;
mod weights;

pub(crate) use decomposed::{Decomposed, decompose};
pub(crate) use encode::Factors;
pub use factor::Factor;
pub use format::AdapterFormat;
pub use full::{Effect, FullTensor};
pub use gguf::{gguf_len, write_gguf};
pub use open::Adapter;
pub(crate) use open::{is_adapter_file, open_gguf};
pub(crate) use save::StagedAdapter;
pub(crate) use view::{View, misfit};

use crate::error::{Error, Result};
use crate::naming::spelling::Spelling;
use crate::source::tensor::Expert;
use phlora_core::Dtype;
use phlora_core::policy::factor_dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Whose names an adapter's modules have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As in `model.layers.0.self_attn.q_proj`.
    HuggingFace,
    /// As in `blk.0.attn_q`, with the rows of some weights in another order.
    Gguf,
    /// As in `lora_unet_down_blocks_0_attentions_0_proj_in` or `diffusion_model.input_blocks.1.1.proj_in`: what the
    /// readers of single files call the modules of a checkpoint, whose own names are needed to tell them apart.
    Single,
}

/// A LoRA adapter: factors by module, what else it changes, and what its base is.
#[derive(Debug, Clone)]
pub struct Lora<'a> {
    /// Its modules.
    pub modules: Vec<LoraModule<'a>>,
    /// What it changes beside them.
    pub full: Vec<FullTensor<'a>>,
    /// Whose names they have.
    pub naming: Naming,
    /// Name or path of the base model.
    pub base_name: Option<String>,
    /// `model_type` of the base, or `general.architecture` where the naming is GGUF's.
    pub architecture: Option<String>,
    /// PEFT's `task_type`, e.g. `CAUSAL_LM`.
    pub task: Option<String>,
    /// The class of transformers that the adapter is for, which PEFT loads by where there is no task.
    pub class: Option<String>,
    /// PEFT's `target_modules`; `None`: the full path of each module.
    pub targets: Option<Vec<String>>,
    /// Whether the base stores the weights of its linear modules [in, out], PEFT's `fan_in_fan_out`.
    pub fan_in_fan_out: bool,
    /// How PEFT wants the names spelled in its file.
    pub spelling: Spelling,
    /// What its file says of it, by key: where it comes from, and what other tools wrote. PEFT, kohya, ComfyUI and mlx-lm
    /// files have a place for all of it, GGUF files for that of phlora.
    pub metadata: BTreeMap<String, String>,
}

/// The end of the name of the joint projection of a multi-head attention of torch, and that of its output projection.
pub(crate) const IN_PROJ: &str = ".in_proj_weight";
pub(crate) const OUT_PROJ: &str = ".out_proj";

/// By what name PEFT finds a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// The path of its module, in `target_modules`.
    #[default]
    Module,
    /// `PATH.weight`, in `target_parameters`: its module is no linear one, or one that PEFT would take for something
    /// else.
    Weight,
    /// The module is the `in_proj_weight` or the `out_proj` of a multi-head attention of torch, whose path is in
    /// `target_modules` and stands for both.
    Attention,
    /// The name of the module is that of a parameter, or of a stack of them with the number of an expert; in
    /// `target_parameters`.
    Parameter,
}

/// The factors of one module.
#[derive(Debug, Clone)]
pub struct LoraModule<'a> {
    /// Path of the module: the name of its weight without `.weight`.
    pub name: Cow<'a, str>,
    /// `lora_a` [rank, in].
    pub a: Factor<'a>,
    /// `lora_b` [out, rank].
    pub b: Factor<'a>,
    /// What B·A is multiplied by.
    pub scale: f64,
    /// Which expert it is of those whose weights one tensor holds. Each has a module of its own, whose name is that of
    /// the tensor with its number: `blk.0.ffn_up_exps.3`, `model.layers.0.mlp.experts.down_proj.3`.
    pub expert: Option<Expert>,
    /// By what name PEFT finds the weight.
    pub target: Target,
    /// Whether the weight is a lookup table [vocabulary, dim], which formats keep apart from linear modules.
    pub embedding: bool,
    /// The kernel's axes of a convolution, as [3, 3]: its weight is [out, in, 3, 3] and `lora_a` [rank, in·3·3].
    /// Empty where the weight is a matrix.
    pub kernel: Vec<usize>,
    /// DoRA's magnitudes [out, 1]: the norms that the rows of W + scale·B·A are brought to. What takes no base refuses
    /// them. In a box, since few adapters have any and some have very many modules.
    pub magnitude: Option<Box<Factor<'a>>>,
}

impl<'a> LoraModule<'a> {
    /// The factors `a` [rank, in] and `b` [out, rank] of a linear module, at scale 1.
    pub fn new(name: impl Into<Cow<'a, str>>, a: Factor<'a>, b: Factor<'a>) -> Self {
        let (expert, kernel) = (None, Vec::new());
        let (target, magnitude) = (Target::Module, None);
        Self { name: name.into(), a, b, scale: 1.0, expert, target, embedding: false, kernel, magnitude }
    }

    /// A module of rank 1 that changes nothing, for a weight of `shape`, [out, in]; `None` where there is none in
    /// `dtype`.
    pub(crate) fn zero(name: &'a str, [out, input]: [usize; 2], dtype: Dtype) -> Option<Self> {
        let factor = |rows: usize, cols: usize| {
            let dtype = factor_dtype(dtype, cols);
            Factor::new(dtype, [rows, cols], vec![0; dtype.row_bytes(cols)?.checked_mul(rows)?]).ok()
        };
        let (a, b) = (factor(1, input)?, factor(out, 1)?);
        Some(Self::new(name, a, b))
    }
}

impl LoraModule<'_> {
    /// Columns of B and rows of A.
    pub fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    /// [out, in] of the weight as a matrix: of a convolution [out, in·kernel].
    pub fn shape(&self) -> [usize; 2] {
        [self.b.shape()[0], self.a.shape()[1]]
    }

    /// The weight's shape: [out, in], of a convolution [out, in, kernel…].
    pub fn weight_shape(&self) -> Vec<usize> {
        let [out, input] = self.shape();
        let kernel: usize = self.kernel.iter().product();
        [&[out, input / kernel.max(1)], self.kernel.as_slice()].concat()
    }

    /// Checks that A and B belong together.
    pub(crate) fn check(&self) -> Result<()> {
        if self.rank() != self.b.shape()[1] {
            let problem =
                format!("its rank is {}, but that of its lora_a is {}", self.b.shape()[1], self.rank());
            return Err(self.b.error(problem));
        }
        let kernel: usize = self.kernel.iter().product();
        if kernel == 0 || !self.a.shape()[1].is_multiple_of(kernel) {
            let problem =
                format!("its rows of {} entries are no kernels of {:?}", self.a.shape()[1], self.kernel);
            return Err(self.a.error(problem));
        }
        if self.rank() == 0 || !self.scale.is_finite() {
            let problem = format!("rank {} and scale {} make no adapter", self.rank(), self.scale);
            return Err(self.a.error(problem));
        }
        Ok(())
    }
}

impl<'a> Lora<'a> {
    /// `modules` under the names that `naming` says, and nothing else known.
    pub fn new(modules: Vec<LoraModule<'a>>, naming: Naming) -> Self {
        Self {
            modules,
            full: Vec::new(),
            naming,
            base_name: None,
            architecture: None,
            task: None,
            class: None,
            targets: None,
            fan_in_fan_out: false,
            spelling: Spelling::default(),
            metadata: BTreeMap::new(),
        }
    }
}

impl Lora<'_> {
    /// The largest rank of its modules.
    pub fn rank(&self) -> usize {
        self.modules.iter().map(LoraModule::rank).max().unwrap_or(0)
    }

    /// The same adapter with every module of rank [`rank`](Self::rank), by zeros: what servers want that know one
    /// rank only.
    #[must_use]
    pub fn padded(mut self) -> Self {
        let rank = self.rank();
        for module in &mut self.modules {
            let [out, input] = module.shape();
            module.a.resize([rank, input]);
            module.b.resize([out, rank]);
        }
        self
    }

    /// # Errors
    /// When it changes anything beside its factors, which `place` has no place for.
    pub(crate) fn factors_only(&self, place: &str) -> Result<()> {
        self.full.first().map_or(Ok(()), |tensor| {
            Err(tensor
                .values
                .error(format!("it changes {} beside its factors, for which {place}", tensor.name)))
        })
    }

    /// Checks that every pair belongs together and that no module or tensor is named twice.
    pub(crate) fn check(&self) -> Result<()> {
        let mut names = std::collections::BTreeSet::new();
        for module in &self.modules {
            module.check()?;
            if !names.insert(module.name.as_ref()) {
                return Err(Error::usage(format!("module {} is named twice", module.name)));
            }
        }
        let mut full = std::collections::BTreeSet::new();
        for tensor in &self.full {
            tensor.check()?;
            if !full.insert(tensor.name.as_ref()) {
                return Err(tensor.values.error(format!("{} is named twice", tensor.name)));
            }
            if tensor.name.ends_with(".weight") && names.contains(tensor.module()) {
                let problem =
                    format!("the weight of {} has factors as well, which is not read", tensor.module());
                return Err(tensor.values.error(problem));
            }
        }
        Ok(())
    }
}
