//! Options for tensors that LoRA cannot represent: norms, biases, rows of vocabularies, whole layers.

use crate::adapter::AdapterFormat;
use crate::error::{Error, Result};
use crate::naming::kind::{Kind, is_token_table, module_of, suffix_of};

/// What to take beside factors. Default: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Also {
    /// Weights and biases of normalisations.
    pub norms: bool,
    /// Biases of other modules; in PEFT's format of those that have factors.
    pub biases: bool,
    /// Rows of the token embedding, and of an output head that is not tied to it.
    pub tokens: Tokens,
    /// Layers that PEFT gives no factors, or wrong ones, but takes whole.
    pub layers: Layers,
}

/// Which of the layers that PEFT takes whole alone, such as convolutions with dilation or groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layers {
    /// All of them, if together they need no more bytes than the factors of the others, else none; none within a
    /// budget.
    #[default]
    Small,
    /// All of them.
    All,
}

/// Which rows of a vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tokens {
    /// None.
    #[default]
    None,
    /// Those that the base lacks.
    New,
    /// Those, and all that differ.
    Changed,
}

impl Tokens {
    /// All rows that differ or are new, or the new ones alone, by what was asked for.
    pub fn of(changed: bool, new: bool) -> Self {
        match (changed, new) {
            (true, _) => Self::Changed,
            (false, true) => Self::New,
            (false, false) => Self::None,
        }
    }
}

/// How a tensor is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Its difference.
    Difference,
    /// Its values, also where they are those of the base.
    Values,
    /// The same of a layer that PEFT takes whole alone.
    Layer,
    /// Its values within a head that is stored whole; whether the base has no such tensor.
    Head { is_new: bool },
    /// Those of its rows that differ, or only those that the base lacks.
    Rows { new_only: bool },
}

impl Also {
    /// Whether there is anything to take.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// # Errors
    /// When an adapter of `format`, made of models with the names of checkpoints or not, has no place for it.
    pub(crate) fn check(self, format: AdapterFormat, checkpoints: bool) -> Result<()> {
        let problem = match format {
            _ if !self.any() => return Ok(()),
            AdapterFormat::Gguf => {
                "llama.cpp reads nothing but factors from an adapter: no norms, biases, tokens or whole layers"
            }
            AdapterFormat::Mlx => "mlx-lm reads nothing but factors from an adapter",
            _ if !checkpoints => {
                "norms, biases, tokens and whole layers are taken from checkpoints only: a GGUF file may hold other \
                 numbers for them"
            }
            AdapterFormat::Kohya | AdapterFormat::Comfy if self.layers == Layers::All => {
                "this file format has no place for whole layers; PEFT's has"
            }
            AdapterFormat::Kohya | AdapterFormat::Comfy if self.tokens != Tokens::None => {
                "this file format has no place for rows of a vocabulary; PEFT's has"
            }
            _ => return Ok(()),
        };
        Err(Error::usage(problem.into()))
    }

    /// How the tensor `name` of `kind` is to be taken for `format`, if at all; `tied`: the output head is the embedding.
    pub(crate) fn take(self, name: &str, kind: Kind, format: AdapterFormat, tied: bool) -> Option<Take> {
        let values = if format.is_like_peft() { Take::Values } else { Take::Difference };
        let (module, parameter) = (module_of(name), suffix_of(name));
        match (kind, parameter) {
            (Kind::Norm, "weight" | "bias") if self.norms => Some(values),
            (Kind::Bias | Kind::Head, "bias") if self.biases => Some(Take::Difference),
            (Kind::Embedding, "weight") if is_token_table(module) => self.rows(),
            (Kind::Head, "weight") if !tied => self.rows(),
            _ => None,
        }
    }

    fn rows(self) -> Option<Take> {
        match self.tokens {
            Tokens::None => None,
            Tokens::New => Some(Take::Rows { new_only: true }),
            Tokens::Changed => Some(Take::Rows { new_only: false }),
        }
    }
}
