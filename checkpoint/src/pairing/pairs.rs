//! Pairs the tensors of two models by name.

use crate::adapter::{Naming, Target};
use crate::error::{Error, Result};
use crate::naming::kind::{
    Kind, is_conv1d, is_conv1d_model, is_task_head, is_vocabulary_head, kind_of, module_of, suffix_of,
};
use crate::naming::memory::{Kinds, Weight};
use crate::pairing::aligned::{Aligned, Side};
use crate::report::LeftOut;
use crate::source::tensor::{Expert, Tensor};

/// One tensor that both models hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'m> {
    /// Its name in the checkpoint.
    pub(crate) name: &'m str,
    /// Its name in the adapter's model.
    pub(crate) memory: &'m str,
    pub(crate) kind: Kind,
    pub(crate) base: Tensor<'m>,
    pub(crate) tuned: Tensor<'m>,
    /// The weight before fine-tuning, where `base` is what a device runs in its place.
    pub(crate) origin: Option<Tensor<'m>>,
    /// Which expert of a stack it is, where the stack is what has a name.
    pub(crate) expert: Option<Expert>,
    /// Stored [in, out] instead of [out, in].
    pub(crate) transposed: bool,
    /// What PEFT takes the weight for, where that is known.
    pub(crate) known: Option<Kinds>,
}

impl<'m> Pair<'m> {
    /// The module's path.
    pub(crate) fn module(&self) -> &'m str {
        module_of(self.name)
    }

    /// The path of the module in the adapter.
    pub(crate) fn path(&self) -> &'m str {
        module_of(self.memory)
    }

    /// By what name PEFT finds the weight.
    pub(crate) fn target(&self) -> Target {
        match self.known {
            Some(Kinds::Stack { .. } | Kinds::Bare) => Target::Parameter,
            Some(Kinds::Linear { parameter: true, .. }) => Target::Weight,
            Some(Kinds::Attention) => Target::Attention,
            _ => Target::Module,
        }
    }

    /// Whether the weight is stored [in, out] as that of a module which PEFT knows by that order.
    pub(crate) fn is_conv1d(&self) -> bool {
        self.transposed && self.expert.is_none()
    }

    /// Rows and columns as stored, of a convolution [out, in·kernel]; both sides agree where the pair is extracted.
    pub(crate) fn stored_shape(&self) -> (usize, usize) {
        match self.base.shape() {
            [rows, _, ..] => (*rows, self.base.row_len()),
            _ => (0, 0),
        }
    }

    /// The kernel's axes of a convolution; nothing of a matrix.
    pub(crate) fn kernel(&self) -> &'m [usize] {
        self.base.shape().get(2..).unwrap_or_default()
    }

    /// All weights that it consists of.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'m>> {
        [self.base, self.tuned].into_iter().chain(self.origin).collect()
    }

    /// Bytes of both sides.
    pub(crate) fn bytes(&self) -> usize {
        self.base.byte_len() + self.tuned.byte_len()
    }
}

/// Every tensor that both models hold, sorted by name, and the names that only one of them holds, with the reason.
pub(crate) fn pairs<'m>(models: &'m Aligned<'_>) -> Result<(Vec<Pair<'m>>, Vec<LeftOut>)> {
    let Aligned { base, tuned, origin, .. } = models;
    let mut configs = models.sides().map(|side| side.model.config());
    let config = configs.find(|config| config.model_type.is_some()).unwrap_or(base.model.config());
    let conv1d = is_conv1d_model(config, base.tensors().map(|(name, tensor)| (name, tensor.shape())));
    let tied = is_tied(models);

    let (mut pairs, mut one_sided) = (Vec::new(), Vec::new());
    let mut only = |name: &str, weight: &Weight<'_>, side: &str| {
        let shape = weight.tensor().shape();
        let why = if tied && kind_of(name, shape) == Kind::Head { ": tied to the embedding" } else { "" };
        let name = &weight.label;
        let reason = if models.is_incomparable(name) {
            "not compared: GGUF may hold something else under its name".to_owned()
        } else {
            format!("only in {side}{why}")
        };
        one_sided.push(LeftOut { name: name.clone(), reason, delta_norm: None, weight_norm: None });
    };
    for (memory, weight) in base.weights() {
        let Some(other) = tuned.weight(memory) else {
            only(memory, weight, "base");
            continue;
        };
        let (base, tuned) = (weight.tensor(), other.tensor());
        let known = weight.kind.or(other.kind).map(|kind| kind.of_rows(weight.turned || other.turned));
        let kind = kind(memory, base.shape(), known);
        let by_name = || conv1d && kind == Kind::Linear && is_conv1d(module_of(memory));
        let transposed = known.and_then(|kind| kind.is_transposed(weight.turned)).unwrap_or_else(by_name);
        let origin = origin.as_ref().and_then(|origin| origin.tensor(memory));
        let origin = origin.filter(|origin| origin.shape() == base.shape());
        let stacked = models.naming() == Naming::Gguf || matches!(known, Some(Kinds::Stack { .. }));
        let expert = weight.expert().filter(|_| stacked);
        let name = weight.label.as_str();
        pairs.push(Pair { name, memory, kind, base, tuned, origin, expert, transposed, known });
    }
    for (name, weight) in tuned.weights().filter(|(name, _)| base.weight(name).is_none()) {
        only(name, weight, "tuned");
    }
    pairs.sort_by_key(|pair| pair.name);
    if pairs.is_empty() {
        let example = |side: &Side<'_>| side.tensors().next().map_or("nothing".into(), |(n, _)| n.to_owned());
        let problem = format!(
            "has no tensor name in common with {} (there e.g. {}, here e.g. {}): models of other kinds?",
            base.model.path().display(),
            example(base),
            example(tuned)
        );
        return Err(Error::format(tuned.model.path(), problem));
    }
    Ok((pairs, one_sided))
}

/// The role of a weight, by what is known of it in memory, else by its name.
fn kind(name: &str, shape: &[usize], known: Option<Kinds>) -> Kind {
    let named = match (kind_of(name, shape), suffix_of(name)) {
        // The head of a task is a linear layer like any other.
        (Kind::Head, "weight") if is_task_head(module_of(name)) && shape.len() == 2 => Kind::Linear,
        (Kind::Head, "bias") if is_task_head(module_of(name)) => Kind::Bias,
        (named, _) => named,
    };
    match known {
        // A lookup table whose class looks up in a way of its own is a parameter to PEFT.
        Some(Kinds::Linear { .. }) if named == Kind::Embedding || shape.len() != 2 => named,
        // Other heads are linear layers like any other.
        Some(Kinds::Linear { head: true, .. })
            if named == Kind::Head && is_vocabulary_head(module_of(name)) =>
        {
            Kind::Head
        }
        Some(Kinds::Linear { .. } | Kinds::Stack { .. } | Kinds::Bare | Kinds::Attention) => Kind::Linear,
        Some(Kinds::Embedding) => Kind::Embedding,
        Some(Kinds::Convolution) => Kind::Conv,
        _ => named,
    }
}

/// Whether a side says that its output head is its embedding.
pub(crate) fn is_tied(models: &Aligned<'_>) -> bool {
    models.sides().any(|side| side.model.config().tied == Some(true))
}

/// What is said of a pair without a place in the adapter.
pub(crate) fn left_out(pair: &Pair<'_>, reason: &str, delta_norm: Option<f64>) -> LeftOut {
    LeftOut { name: pair.name.to_owned(), reason: reason.to_owned(), delta_norm, weight_norm: None }
}
