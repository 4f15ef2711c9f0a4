//! Reads an adapter of one safetensors file.

use super::{ALPHA, BASE_NAME, DIFF, DIFF_BIAS, DOWN, Style, UP};
use crate::adapter::products::{self, Product};
use crate::adapter::stored::pair;
use crate::adapter::{Effect, FullTensor, Lora, LoraModule, Naming};
use crate::error::{Error, Result};
use crate::source::json::Json;
use crate::source::mapped::Mapped;
use crate::source::model::Model;
use crate::source::safetensors::metadata_where;
use crate::source::tensor::Tensor;
use phlora_core::Rows;
use std::collections::BTreeMap;
use std::path::Path;

/// A mapped adapter.
#[derive(Debug)]
pub(crate) struct SingleFile {
    weights: Model,
}

/// What a module's tensors are, by what follows its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Down,
    Up,
    Alpha,
    /// The difference of its weight, of its bias.
    Weight,
    Bias,
}

/// PEFT's names for the factors are met in these files as well, and those of LyCORIS for the differences of norms.
const ROLES: [(&str, Role); 9] = [
    (DOWN, Role::Down),
    (UP, Role::Up),
    (ALPHA, Role::Alpha),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (DIFF, Role::Weight),
    (DIFF_BIAS, Role::Bias),
    (".w_norm", Role::Weight),
    (".b_norm", Role::Bias),
];

/// What these files may hold beside LoRA, by what their names hold, and what it is.
const OTHERS: [(&str, &str); 7] = [
    (".lora_mid.", "the core of a Tucker decomposition"),
    (".dora_scale", "the magnitudes of a DoRA adapter"),
    (".hada_", "an unknown tensor of a LoHa adapter"),
    (".lokr_", "an unknown tensor of a LoKr adapter"),
    (".oft_", "a tensor of an OFT adapter"),
    (".reshape_weight", "another shape for the base's weight"),
    (".set_weight", "a weight in place of the base's"),
];

/// The key of the metadata in which diffusers keeps PEFT's configuration, scales among it.
pub(super) const PEFT_CONFIG: &str = "lora_adapter_metadata";

/// The tensors of a module.
#[derive(Debug, Default)]
struct Found<'a> {
    down: Option<Tensor<'a>>,
    up: Option<Tensor<'a>>,
    alpha: Option<Tensor<'a>>,
    weight: Option<Tensor<'a>>,
    bias: Option<Tensor<'a>>,
    /// Of LoHa and LoKr.
    product: Product<'a>,
}

/// Whether `path` is a safetensors file with a tensor that is named as those of such an adapter, and is none of PEFT's.
pub(crate) fn is_single_file(path: &Path) -> bool {
    let safetensors = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    let pair = |name: &str| split(name).is_some_and(|(_, role)| matches!(role, Role::Down | Role::Up));
    let ours = |name: &str| !name.starts_with("base_model.model.") && pair(name);
    let other = |name: &str| OTHERS[..5].iter().any(|(known, _)| name.contains(known));
    safetensors
        && path.is_file()
        && Model::open(path).is_ok_and(|model| model.tensors().any(|(name, _)| ours(name) || other(name)))
}

fn split(name: &str) -> Option<(&str, Role)> {
    ROLES.iter().find_map(|(suffix, role)| Some((name.strip_suffix(suffix)?, *role)))
}

impl SingleFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { weights: Model::open(path)? })
    }

    /// kohya's names have no dots.
    pub(crate) fn style(&self) -> Style {
        let dotted = |name: &str| split(name).is_some_and(|(module, _)| module.contains('.'));
        if self.weights.tensors().any(|(name, _)| dotted(name)) { Style::Comfy } else { Style::Kohya }
    }

    /// What it holds, modules sorted by name; complete pairs, or an error.
    pub(crate) fn lora(&self) -> Result<Lora<'_>> {
        let mut modules = BTreeMap::<&str, Found<'_>>::new();
        for (_, tensor) in self.weights.tensors() {
            if let Some((module, factor)) = products::split(tensor.stored_name()) {
                modules.entry(module).or_default().product.take(factor, tensor)?;
                continue;
            }
            let Some((module, role)) = split(tensor.stored_name()) else { return Err(other(&tensor)) };
            let found = modules.entry(module).or_default();
            let place = match role {
                Role::Down => &mut found.down,
                Role::Up => &mut found.up,
                Role::Alpha => &mut found.alpha,
                Role::Weight => &mut found.weight,
                Role::Bias => &mut found.bias,
            };
            if let Some(first) = place.replace(tensor) {
                let problem = format!("the same tensor of the module as {}", first.stored_name());
                return Err(tensor.error(problem));
            }
        }
        let mut full = Vec::new();
        for (module, found) in &mut modules {
            for (parameter, tensor) in [("weight", found.weight.take()), ("bias", found.bias.take())] {
                if let Some(tensor) = tensor {
                    let name = format!("{module}.{parameter}");
                    full.push(FullTensor::stored(name, tensor, Effect::Adds(1.0))?);
                }
            }
        }
        modules.retain(|_, found| !found.is_empty());
        if modules.is_empty() {
            return Err(Error::format(self.weights.path(), "it holds no LoRA factors"));
        }
        let modules: Vec<_> =
            modules.into_iter().map(|(name, found)| found.module(name)).collect::<Result<_>>()?;
        let mut metadata = self.metadata()?;
        let base_name = metadata.remove(BASE_NAME);
        Ok(Lora { full, base_name, metadata, ..Lora::new(modules, Naming::Single) })
    }

    /// What the file says of itself.
    fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let path = self.weights.path();
        let mapped = Mapped::open(path)?;
        let metadata = metadata_where(path, mapped.bytes(), |key| key != "format")?;
        if metadata.get(PEFT_CONFIG).is_some_and(|config| scales(config)) {
            let problem = format!(
                "its metadata {PEFT_CONFIG} states a scale other than 1, which ComfyUI ignores and diffusers does not"
            );
            return Err(Error::format(path, problem));
        }
        Ok(metadata)
    }
}

/// What a configuration says of a model of a pipeline.
#[derive(Default)]
struct Stated {
    rank: Option<f64>,
    /// NaN, which differs from every rank, where it is stated as something else than a number.
    alpha: Option<f64>,
}

/// Most models of a pipeline.
const MAX_MODELS: usize = 1 << 10;

/// Whether a configuration as diffusers writes it for each model of a pipeline, `unet.lora_alpha` and so on, states another
/// scale than 1, or does so in words that are not known here.
fn scales(config: &str) -> bool {
    let set = |value: Json<'_>| match value.bool() {
        Some(set) => set,
        None if value.is_object() => !value.first_value().is_null(),
        None => !value.is_null(),
    };
    // Rank and alpha of each model.
    let (mut numbers, mut scaled) = (BTreeMap::<String, Stated>::new(), false);
    let sound = Json::parse(config.as_bytes()).is_ok_and(|config| {
        config.each_entry(|key, value| {
            match key.rsplit_once('.') {
                Some((model, "r")) => {
                    numbers.entry(model.to_owned()).or_default().rank = value.number();
                }
                Some((model, "lora_alpha")) => {
                    numbers.entry(model.to_owned()).or_default().alpha =
                        Some(value.number().unwrap_or(f64::NAN));
                }
                Some((_, "alpha_pattern" | "rank_pattern" | "use_rslora" | "use_dora")) => {
                    scaled |= set(value);
                }
                _ => {}
            }
            numbers.len() <= MAX_MODELS
        })
    });
    let differs = |stated: &Stated| stated.alpha.is_some_and(|alpha| stated.rank != Some(alpha));
    !sound || scaled || numbers.len() > MAX_MODELS || numbers.values().any(differs)
}

/// What is wrong with a tensor that does not belong to a pair.
fn other(tensor: &Tensor<'_>) -> Error {
    let name = tensor.stored_name();
    let what = OTHERS.iter().find(|(known, _)| name.contains(known)).map(|(_, what)| *what);
    tensor.error(match what {
        Some(what) => format!("{what}, which is not read; only LoRA pairs are"),
        None => format!("not a LoRA factor, expected MODULE{UP}, {DOWN} or {ALPHA}"),
    })
}

impl<'a> Found<'a> {
    fn is_empty(&self) -> bool {
        self.down.is_none() && self.up.is_none() && self.alpha.is_none() && self.product.is_empty()
    }

    fn module(self, name: &'a str) -> Result<LoraModule<'a>> {
        if !self.product.is_empty() {
            if let Some(other) = self.down.or(self.up) {
                return Err(other.error("its module has factors of LoHa or LoKr as well, which is not read"));
            }
            let scale = match (self.alpha, self.product.inner_rank()) {
                (Some(tensor), Some(rank)) => alpha(&tensor)? / rank as f64,
                // What is not factored is not scaled.
                _ => 1.0,
            };
            return self.product.module(name, scale);
        }
        let (down, up) = match (self.down, self.up, self.alpha) {
            (Some(down), Some(up), _) => (down, up),
            (Some(alone), None, _) => return Err(alone.error(format!("its {} is missing", &UP[1..]))),
            (None, Some(alone), _) => return Err(alone.error(format!("its {} is missing", &DOWN[1..]))),
            (None, None, Some(alone)) => return Err(alone.error("the factors of its module are missing")),
            (None, None, None) => return Err(Error::usage(name.to_owned())),
        };
        let (a, b, kernel) = pair(down, up, None)?;
        let rank = a.shape()[0];
        let scale = match self.alpha {
            None => 1.0,
            Some(tensor) => alpha(&tensor)? / rank as f64,
        };
        let module = LoraModule { scale, kernel, ..LoraModule::new(name, a, b) };
        module.check()?;
        Ok(module)
    }
}

/// The number in a scalar tensor, of whatever type.
fn alpha(tensor: &Tensor<'_>) -> Result<f64> {
    if tensor.len() != 1 {
        return Err(tensor.error(format!("its shape is {:?}, expected one number", tensor.shape())));
    }
    let bytes = tensor.bytes();
    let number = match (tensor.dtype(), tensor.dtype_name(), bytes) {
        (Some(dtype), ..) => {
            let mut value = [0.0];
            let decoded = phlora_core::decode(Rows::new(dtype, bytes), &mut value);
            decoded.map_err(|e| tensor.error(e.to_string()))?;
            f64::from(value[0])
        }
        (_, "I64", &[a, b, c, d, e, f, g, h]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]) as f64,
        (_, "I32", &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
        (_, "I16", &[a, b]) => f64::from(i16::from_le_bytes([a, b])),
        (_, "U8", &[a]) => f64::from(a),
        (_, name, _) => return Err(tensor.error(format!("its dtype {name} is not read, expected a number"))),
    };
    if number == 0.0 {
        let problem = "an alpha of 0, which kohya's scripts take for the rank and ComfyUI for no effect";
        return Err(tensor.error(problem));
    }
    if !number.is_finite() {
        return Err(tensor.error(format!("{number} is no alpha, expected a finite number")));
    }
    Ok(number)
}
