//! What weights in memory are to PEFT.

/// What a weight in memory is to PEFT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// The weight of a linear module; whether PEFT has to be told its name as that of a parameter, and whether it is
    /// the head of a language model, or may be tied to an embedding.
    Linear { parameter: bool, transposed: bool, head: bool },
    /// A matrix that is a parameter with a name of its own, not the `weight` of a module.
    Bare,
    /// The joint projection of a multi-head attention of torch, or its output projection: PEFT adapts both together.
    Attention,
    /// A lookup table.
    Embedding,
    /// A convolution that PEFT adapts exactly.
    Convolution,
    /// A stack of matrices; whether they are [in, out].
    Stack { transposed: bool },
    /// Nothing that PEFT adapts rightly, and why.
    Refused(&'static str),
    /// The same of a layer that PEFT's `modules_to_save` can take whole.
    Whole(&'static str),
}

impl Kinds {
    /// The same of a weight that may be the other way round in the file than in memory, `turned`: such values are not
    /// stored as they are.
    pub(crate) fn of_rows(self, turned: bool) -> Self {
        match self {
            Self::Whole(why) if turned => Self::Refused(why),
            kind => kind,
        }
    }

    /// Whether a matrix of this kind is stored [in, out], `turned` saying whether it is the other way round in the file
    /// than in memory; `None` of what is no matrix of a linear map.
    pub(crate) fn is_transposed(self, turned: bool) -> Option<bool> {
        match self {
            Self::Linear { transposed, .. } | Self::Stack { transposed } => Some(transposed != turned),
            _ => None,
        }
    }
}
