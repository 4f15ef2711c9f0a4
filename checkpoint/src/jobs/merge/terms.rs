//! Which modules of which adapters go into which weight, checked before anything is written.

use crate::adapter::stored::matrix_shape;
use crate::adapter::{Adapter, Effect, Factor, FullTensor, Lora, LoraModule, View};
use crate::error::{Error, Result};
use crate::naming::kind::{Kind, is_conv1d, is_conv1d_model, is_token_table, kind_of, module_of};
use crate::naming::memory::Weight;
use crate::pairing::beginnings;
use crate::source::model::Model;
use crate::source::tensor::Tensor;
use phlora_core::{Dtype, Rows, Shape};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A weight and what is added to it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) tensor: Tensor<'a>,
    /// The number of its file.
    pub(super) file: usize,
    pub(super) dtype: Dtype,
    /// [rows, cols] as it is stored.
    pub(super) shape: [usize; 2],
    /// Not empty.
    pub(super) terms: Vec<Term<'a>>,
}

/// A tensor that adapters change beside their factors.
#[derive(Debug)]
pub(super) struct FullTarget<'a> {
    pub(super) tensor: Tensor<'a>,
    /// The number of its file.
    pub(super) file: usize,
    pub(super) dtype: Dtype,
    /// [rows, cols] as it is stored.
    pub(super) shape: [usize; 2],
    /// Not empty; each with its strength.
    pub(super) terms: Vec<(FullTensor<'a>, f32)>,
}

/// A tensor of a task's head that the base lacks, or has for another number of classes.
#[derive(Debug)]
pub(super) struct NewTensor<'a> {
    pub(super) name: String,
    /// The number of the file that it goes into.
    pub(super) file: usize,
    pub(super) values: Factor<'a>,
    pub(super) shape: Vec<usize>,
}

/// What is merged into the tensors of a base.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    pub(super) products: Vec<Target<'a>>,
    pub(super) full: Vec<FullTarget<'a>>,
    /// By file.
    pub(super) new: Vec<NewTensor<'a>>,
    /// How names were paired, and what is to be known of heads.
    pub(super) notes: Vec<String>,
}

/// What one adapter adds: factors in the order of the stored weight, which may be [in, out].
#[derive(Debug)]
pub(super) struct Term<'a> {
    pub(super) module: LoraModule<'a>,
    pub(super) strength: f32,
    /// Whether the weight is stored [in, out].
    pub(super) turned: bool,
}

/// The targets by name, each with its adapters in their order.
pub(super) fn targets<'a>(base: &'a View<'_>, adapters: &[(&'a Adapter, f32)]) -> Result<Targets<'a>> {
    let (view, base) = (base, base.model);
    let conv1d = !base.is_gguf()
        && is_conv1d_model(base.config(), base.tensors().map(|(name, tensor)| (name, tensor.shape())));
    let mut targets = BTreeMap::<(String, usize), Target<'a>>::new();
    let mut full = BTreeMap::<String, FullTarget<'a>>::new();
    let (mut new, mut notes) = (Vec::<NewTensor<'a>>::new(), Vec::new());
    for (adapter, strength) in adapters {
        if !strength.is_finite() {
            let problem = format!("the scale {strength} of {} is no number", adapter.path().display());
            return Err(Error::usage(problem));
        }
        let (lora, paired) = renamed(adapter, view)?;
        notes.extend(paired);
        lora.check()?;
        let transposed = lora.fan_in_fan_out;
        for mut module in lora.modules {
            let name = format!("{}.weight", module.name);
            let (weight, turned) = place(view, &module, &name, conv1d, transposed)?;
            if turned {
                let LoraModule { a, b, .. } = &mut module;
                a.transpose();
                b.transpose();
                std::mem::swap(a, b);
            }
            let dtype = written(&weight.tensor(), adapter)?;
            for factor in [&mut module.a, &mut module.b] {
                // Another order of the entries must not round them again.
                if factor.dtype().is_block() {
                    factor.set_dtype(Dtype::F32);
                }
            }
            // What adds nothing leaves every byte as it is.
            if *strength == 0.0 {
                continue;
            }
            let [rows, cols] = module.shape();
            for (first, count, tensor) in weight.components() {
                let file = file_of(base, &tensor)?;
                let mut module = module.clone();
                if count < rows {
                    module.b = module.b.settled()?.row_range(first, count)?;
                    if let Some(magnitude) = module.magnitude.as_mut().filter(|_| !turned) {
                        **magnitude = magnitude.settled()?.row_range(first, count)?;
                    }
                }
                if let Some(order) = tensor.order() {
                    module.b = module.b.settled()?;
                    module.b.permute_rows(order.inverse());
                    if let Some(magnitude) = module.magnitude.as_mut().filter(|_| !turned) {
                        magnitude.permute_rows(order.inverse());
                    }
                }
                let (shape, terms) = ([count, cols], Vec::new());
                let target = targets.entry((name.clone(), first));
                let target = target.or_insert(Target { tensor, file, dtype, shape, terms });
                target.terms.push(Term { module, strength: *strength, turned });
            }
        }
        for change in lora.full {
            if is_new(view, &change) {
                if *strength != 0.0 {
                    let tensor = new_tensor(view, change)?;
                    if let Some(twice) = new.iter().find(|other| other.name == tensor.name) {
                        let problem = format!("another adapter brings {} as well", twice.name);
                        return Err(tensor.values.error(problem));
                    }
                    new.push(tensor);
                }
                continue;
            }
            let tensor = place_full(view, &change)?;
            let dtype = written(&tensor, adapter)?;
            if *strength == 0.0 {
                continue;
            }
            let name = change.name.clone().into_owned();
            let (file, shape, terms) = (file_of(base, &tensor)?, matrix_shape(tensor.shape()), Vec::new());
            let target = full.entry(name).or_insert(FullTarget { tensor, file, dtype, shape, terms });
            target.terms.push((change, *strength));
        }
    }
    if let Some((name, target)) = full.iter().find(|(name, _)| targets.contains_key(&((*name).clone(), 0))) {
        let problem = format!("{name} gets values of its own from one adapter and factors from another");
        return Err(target.terms[0].0.values.error(problem));
    }
    new.sort_by(|one, other| (one.file, &one.name).cmp(&(other.file, &other.name)));
    notes.extend(
        new.iter().filter(|tensor| tensor.name.ends_with(".weight")).map(|tensor| new_note(view, tensor)),
    );
    Ok(Targets { products: targets.into_values().collect(), full: full.into_values().collect(), new, notes })
}

/// Whether `change` belongs to a head that the base lacks, or has for another number of classes.
fn is_new(base: &View<'_>, change: &FullTensor<'_>) -> bool {
    let replaces = change.effect == Effect::Replaces && !base.model.is_gguf();
    replaces
        && match base.weight(&change.name) {
            Some(weight) => change.is_head_for_others(weight.tensor().shape()),
            None => base.lacks_top_of(&change.name),
        }
}

/// Where such a tensor goes: into the file of the one that it replaces, else into the last.
fn new_tensor<'a>(base: &View<'_>, change: FullTensor<'a>) -> Result<NewTensor<'a>> {
    let replaced = base.weight(&change.name).map(Weight::tensor);
    let (name, file) = match replaced {
        Some(tensor) if tensor.is_quantized() => {
            return Err(tensor.error("it is quantised, and the adapter has a head of another shape for it"));
        }
        Some(tensor) => (tensor.stored_name().to_owned(), file_of(base.model, &tensor)?),
        None => (change.name.clone().into_owned(), base.model.files().count().saturating_sub(1)),
    };
    Ok(NewTensor { name, file, values: change.values, shape: change.shape })
}

/// What is to be known of such a head.
fn new_note(base: &View<'_>, tensor: &NewTensor<'_>) -> String {
    let (module, classes) = (module_of(&tensor.name), tensor.shape.first().copied().unwrap_or(0));
    let why = match base.weight(&tensor.name).map(Weight::tensor) {
        Some(tensor) => format!("the base has it with {} rows", tensor.shape().first().copied().unwrap_or(0)),
        None => "the base lacks it".to_owned(),
    };
    format!(
        "{module} is stored as the adapter has it, with {classes} rows: {why}; config.json stays that of the base, so a \
         program has to be told the number of classes (transformers: num_labels)"
    )
}

/// The format of a tensor, which `adapter` changes and which must be one that is written.
fn written(tensor: &Tensor<'_>, adapter: &Adapter) -> Result<Dtype> {
    let dtype = tensor.readable()?;
    if tensor.is_quantized() {
        return Err(tensor.error(format!(
            "{} merges into it, but it is quantised: merge into the checkpoint that it was made from, and quantise that",
            adapter.path().display()
        )));
    }
    if dtype.is_encoded() {
        return Ok(dtype);
    }
    let written: Vec<_> =
        Dtype::ALL.iter().filter(|dtype| dtype.is_encoded()).map(|dtype| dtype.name()).collect();
    Err(tensor.error(format!(
        "{} merges into it, but its format {} is only read, expected {}",
        adapter.path().display(),
        dtype.name(),
        written.join(", ")
    )))
}

/// The number of the file that holds a tensor.
fn file_of(base: &Model, tensor: &Tensor<'_>) -> Result<usize> {
    let file = base.files().position(|file| file == tensor.file());
    file.ok_or_else(|| tensor.error("its file is not one of the model's"))
}

/// The tensor that is changed beside factors.
fn place_full<'a>(base: &'a View<'_>, change: &FullTensor<'_>) -> Result<Tensor<'a>> {
    let file = base.model.path().display();
    let name = &change.name;
    let plain = |weight: &&Weight<'_>| weight.components().count() == 1;
    let Some(tensor) = base.weight(name).filter(plain).map(Weight::tensor) else {
        return Err(change.values.error(format!("the base {file} has no tensor {name} to merge into")));
    };
    let found = tensor.shape();
    if !change.fits(found) {
        let own = &change.shape;
        let problem =
            format!("it holds values of shape {own:?}, but {name} in {file} has the shape {found:?}");
        return Err(change.values.error(problem));
    }
    if let (Some(rows), [have, ..]) = (change.rows(), found)
        && let Some(row) = rows.last().filter(|row| *row >= have)
    {
        let problem = format!(
            "it holds row {row} of {name}, which has {have} rows in {file}: the vocabulary grew, and merging keeps \
             the shapes of the base"
        );
        return Err(change.values.error(problem));
    }
    Ok(tensor)
}

/// What an adapter holds, under the names of the base, and how they were paired.
fn renamed<'a>(adapter: &'a Adapter, base: &View<'_>) -> Result<(Lora<'a>, Vec<String>)> {
    let lora = adapter.stored()?;
    if let Some(problem) = lora.other_architecture(base.model) {
        return Err(Error::format(adapter.path(), problem));
    }
    beginnings::onto(lora, base)
}

/// The weight of a module, and whether it is stored [in, out].
fn place<'a>(
    base: &'a View<'_>,
    module: &LoraModule<'_>,
    name: &str,
    conv1d: bool,
    transposed: bool,
) -> Result<(&'a Weight<'a>, bool)> {
    let (view, base) = (base, base.model);
    let file = base.path().display();
    let heads = || base.tensors().any(|(name, tensor)| kind_of(name, tensor.shape()) == Kind::Head);
    let tied = || base.config().tied.unwrap_or_else(|| !heads());
    let Some(weight) = view.weight(name) else {
        let problem =
            format!("the base {file} has no tensor {name} to merge into: an adapter of another base?");
        return Err(module.a.error(problem));
    };
    if is_token_table(&module.name) && tied() {
        let problem = format!(
            "in the base {file} the embedding {name} is the output head as well; merged, the adapter would \
             change both"
        );
        return Err(module.a.error(problem));
    }
    let tensor = weight.tensor();
    let (mut expected, stored) = (module.weight_shape(), tensor.shape());
    let by_name =
        module.kernel.is_empty() && (conv1d && is_conv1d(&module.name) || transposed && stored != expected);
    let turned = weight.is_transposed().unwrap_or(by_name);
    if turned {
        expected.reverse();
    }
    if stored != expected {
        let problem = format!(
            "with its pair it changes a weight of shape {expected:?}, but {name} in {} has the shape {stored:?}: an \
             adapter of another base?",
            tensor.file().display()
        );
        return Err(module.a.error(problem));
    }
    Ok((weight, turned))
}

/// The bytes of A and B.
pub(super) type Bytes<'t> = (Cow<'t, [u8]>, Cow<'t, [u8]>);

impl Target<'_> {
    pub(super) fn row_bytes(&self) -> usize {
        self.tensor.bytes().len().checked_div(self.shape[0]).unwrap_or(0)
    }

    /// The factors of every term, in order and encoded.
    pub(super) fn factors(&self) -> Result<Vec<Bytes<'_>>> {
        self.terms.iter().map(|term| Ok((term.module.a.encoded()?, term.module.b.encoded()?))).collect()
    }

    /// The same for the core.
    pub(super) fn adapters<'f>(
        &self,
        factors: &'f [Bytes<'_>],
    ) -> Result<Vec<(phlora_core::Adapter<'f>, f32)>> {
        let [rows, cols] = self.shape;
        let one = |(term, (a, b)): (&Term<'_>, &'f Bytes<'_>)| {
            let module = &term.module;
            let (a, b) = (Rows::new(module.a.dtype(), a), Rows::new(module.b.dtype(), b));
            let shape = Shape { rows, cols };
            let adapter = phlora_core::Adapter::new(shape, module.rank(), a, b, module.scale as f32);
            Ok((adapter.map_err(|e| module.a.error(e.to_string()))?, term.strength))
        };
        self.terms.iter().zip(factors).map(one).collect()
    }
}
